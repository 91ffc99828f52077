/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a connection: connecting, VERSION, the device thread, the end.
 *
 * The device thread waits for ever for: the twin socket (DMA messages), the main socket while nobody owns it,
 * and gone_fd, which ends it.
 */
#include "vfio-user/connection-private.h"
#include "base/clock.h"
#include "vfio-user/thread.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static int set_send_timeout(int socket, uint64_t usec)
{
    struct timeval tv = {.tv_sec = (time_t)(usec / USEC_PER_SEC),
                         .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)};
    return setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) < 0 ? -errno : 0;
}

int vfu_connect(const char *path, uint64_t timeout_usec, const char *label, struct mig_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ENAMETOOLONG,
                             "%s: the socket path is longer than %zu bytes", label,
                             sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    _cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return mig_error_set(err, MIG_ERR_DEVICE, errno, "%s: no socket: %s", label, strerror(errno));
    int r = set_send_timeout(s, timeout_usec); /* bounds connect too, when the backlog is full */
    if (r == 0 && connect(s, (struct sockaddr *)&address, sizeof address) < 0)
        r = -errno;
    if (r == -EAGAIN) {
        r = mig_error_set(err, MIG_ERR_DEVICE_TIMEOUT, 0, "%s does not accept connections", label);
        mig_error_hint(err, "A vfio-user server serves one client: disconnect the other one first");
        return r;
    }
    if (r < 0) {
        r = mig_error_set(err, MIG_ERR_DEVICE_GONE, -r, "%s: cannot connect: %s", label, strerror(-r));
        mig_error_hint(err, "Check that the device process runs, and that migd may write to its socket");
        return r;
    }
    return TAKE_FD(s);
}

static int fail_protocol(struct vfu_conn *c, struct mig_error *err, const char *why)
{
    return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0, "%s: VERSION: %s", c->label, why);
}

static int take_twin(struct vfu_conn *c, struct vfu_fds *fds, struct mig_error *err)
{
    if (!c->caps.twin_socket)
        return 0;
    if (c->caps.twin_fd_index < 0 || (unsigned)c->caps.twin_fd_index >= fds->count)
        return fail_protocol(c, err, "a twin socket is promised, but its descriptor did not come");
    int type = 0;
    socklen_t size = sizeof type;
    int fd = fds->fd[c->caps.twin_fd_index];
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return fail_protocol(c, err, "the descriptor of the twin socket is not a stream socket");
    c->twin_socket = TAKE_FD(fds->fd[c->caps.twin_fd_index]);
    int r = set_send_timeout(c->twin_socket, c->timeout_usec);
    return r < 0 ? mig_error_set(err, MIG_ERR_DEVICE, -r, "%s: twin socket: %s", c->label, strerror(-r)) : 0;
}

static int exchange_version(struct vfu_conn *c, struct mig_error *err)
{
    struct vfu_caps offer;
    vfu_caps_default(&offer);
    offer.max_msg_fds = VFU_MAX_MSG_FDS;
    offer.max_data_xfer_bytes = c->dma->max_bytes;
    offer.twin_socket = true;
    struct vfu_version version = {.major = VFU_VERSION_MAJOR, .minor = VFU_VERSION_MINOR}, answer;
    char text[VFU_CAPS_TEXT_MAX], back[VFU_CAPS_TEXT_MAX], why[200] = "";
    int n = vfu_caps_format(&offer, text, sizeof text);
    if (n < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -n, "%s: the capabilities do not fit", c->label);

    struct vfu_fds fds = {0};
    struct vfu_call call = {
        .command = VFU_VERSION,
        .send = {{&version, sizeof version}, {text, (size_t)n}},
        .nsend = 2,
        .reply = &answer,
        .reply_min = sizeof answer,
        .reply_max = sizeof answer,
        .data = back,
        .data_max = sizeof back,
        .ret_fds = &fds,
    };
    int r = vfu_conn_call(c, &call, err);
    if (r == 0 && answer.major != VFU_VERSION_MAJOR) {
        snprintf(why, sizeof why, "the server speaks version %u.%u, migd speaks %u.x", answer.major,
                 answer.minor, VFU_VERSION_MAJOR);
        r = fail_protocol(c, err, why);
    }
    if (r == 0 && vfu_caps_parse(&c->caps, back, call.reply_bytes - sizeof answer, why, sizeof why) < 0)
        r = fail_protocol(c, err, why);
    if (r == 0)
        r = take_twin(c, &fds, err);
    vfu_fds_close(&fds);
    return r;
}

/* Twin socket readable: one message. */
static void serve_twin(struct vfu_conn *c)
{
    char why[240] = "";
    int r = vfu_rx_header(&c->twin_rx, c->gone_fd, 0);
    if (r == -ETIMEDOUT)
        return;
    if (r == 0)
        r = vfu_dma_serve(c->dma, &c->twin_rx, c->gone_fd, why, sizeof why);
    if (r == -ETIMEDOUT)
        r = -EPROTO;
    if (r < 0)
        vfu_conn_broken(c, r, why);
}

/* Main socket readable while nobody seemed to own it. */
static void look_after_main(struct vfu_conn *c)
{
    if (!vfu_conn_try_acquire(c, "messages of the device"))
        return;
    struct pollfd p = {.fd = c->main_socket, .events = POLLIN};
    if (poll(&p, 1, 0) > 0)
        /* The part of a late reply that is here is thrown away; the rest when it comes. */
        vfu_conn_receive(c, false, 0, 0, 0);
    vfu_conn_release(c);
}

static void *device_thread(void *userdata)
{
    struct vfu_conn *c = userdata;
    while (!vfu_conn_is_gone(c)) {
        struct epoll_event ev[3];
        int n = epoll_wait(c->epoll, ev, ELEMENTS(ev), -1);
        if (n < 0 && errno != EINTR) {
            vfu_conn_fail(c, "epoll failed: %s", strerror(errno));
            break;
        }
        for (int i = 0; i < n; i++) {
            if (ev[i].data.fd == c->main_socket)
                look_after_main(c);
            else if (ev[i].data.fd == c->twin_socket)
                serve_twin(c);
        }
    }
    return NULL;
}

static int watch(struct vfu_conn *c, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    return fd < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &ev) == 0 || errno == EEXIST ? 0 : -errno;
}

static int start_thread(struct vfu_conn *c)
{
    int r = watch(c, c->gone_fd);
    if (r == 0)
        r = watch(c, c->twin_socket);
    if (r == 0)
        r = watch(c, c->main_socket);
    if (r == 0)
        r = vfu_thread_start(&c->thread, "vfio-user", device_thread, c);
    c->thread_started = r == 0;
    return r;
}

int vfu_conn_new(struct vfu_conn **ret, const char *label, int socket, uint64_t timeout_usec,
                 struct vfu_dma *dma, struct mig_error *err)
{
    _cleanup_close_ int s = socket;
    _cleanup_(vfu_conn_freep) struct vfu_conn *c = calloc(1, sizeof *c);
    if (!c)
        return mig_error_oom(err);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->freed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&c->lock, NULL);
    snprintf(c->label, sizeof c->label, "%s", label);
    c->main_socket = TAKE_FD(s);
    c->twin_socket = -1;
    c->timeout_usec = timeout_usec;
    c->dma = dma;
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    c->gone_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    vfu_caps_default(&c->caps);
    vfu_rx_init(&c->rx, c->main_socket);
    if (c->epoll < 0 || c->gone_fd < 0)
        return mig_error_set(err, MIG_ERR_DEVICE, errno, "%s: %s", label, strerror(errno));
    int r = set_send_timeout(c->main_socket, timeout_usec);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_DEVICE, -r, "%s: this is not a socket: %s", label, strerror(-r));
    r = exchange_version(c, err);
    if (r < 0)
        return r;
    vfu_rx_init(&c->twin_rx, c->twin_socket);
    r = start_thread(c);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_DEVICE, -r, "%s: no thread for the device: %s", label,
                             strerror(-r));
    *ret = TAKE_PTR(c);
    return 0;
}

struct vfu_conn *vfu_conn_free(struct vfu_conn *c)
{
    if (!c)
        return NULL;
    if (c->gone_fd >= 0)
        vfu_conn_fail(c, "migd has closed the connection");
    if (c->thread_started)
        pthread_join(c->thread, NULL);
    vfu_rx_done(&c->rx);
    vfu_rx_done(&c->twin_rx);
    close_fd(&c->main_socket);
    close_fd(&c->twin_socket);
    close_fd(&c->epoll);
    close_fd(&c->gone_fd);
    pthread_cond_destroy(&c->freed);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pass-through server's socket, threads and queue. */
#include "vfio-user/passthrough-private.h"
#include "base/clock.h"
#include "base/log.h"
#include "vfio-user/thread.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static void message_free(struct passthrough_message *m)
{
    vfu_fds_close(&m->fds);
    free(m);
}

static struct passthrough_message *dequeue(struct vfu_passthrough *p)
{
    struct passthrough_message *m = p->queue;
    if (m) {
        p->queue = m->next;
        if (!p->queue)
            p->queue_end = &p->queue;
        p->queued--;
    }
    return m;
}

static void wake_reader(struct vfu_passthrough *p)
{
    eventfd_write(p->wake_fd, 1);
}

/* Reader. */

static void client_left(struct vfu_passthrough *p)
{
    pthread_mutex_lock(&p->lock);
    p->leaving = true;
    passthrough_dma_abort(p);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    /* The executor may be waiting for the device on behalf of this client. */
    pthread_mutex_lock(&p->vd->state_lock);
    pthread_cond_broadcast(&p->vd->state_changed);
    pthread_mutex_unlock(&p->vd->state_lock);
}

static void accept_client(struct vfu_passthrough *p)
{
    int s = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (s < 0)
        return;
    struct timeval tv = {.tv_sec = (time_t)(p->timeout_usec / USEC_PER_SEC),
                         .tv_usec = (suseconds_t)(p->timeout_usec % USEC_PER_SEC)};
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    vfu_rx_init(&p->rx, s);
    vfu_rx_init(&p->twin_rx, -1);
    pthread_mutex_lock(&p->lock);
    pthread_mutex_lock(&p->send_lock);
    p->client = s;
    p->twin = -1;
    pthread_mutex_unlock(&p->send_lock);
    p->connected = true;
    p->leaving = p->greeted = false;
    pthread_mutex_unlock(&p->lock);
}

/* A whole command into the queue. */
static int read_command(struct vfu_passthrough *p)
{
    if (p->rx.left > PASSTHROUGH_PAYLOAD_MAX)
        return -EPROTO;
    struct passthrough_message *m = calloc(1, sizeof *m + p->rx.left);
    if (!m)
        return -ENOMEM;
    m->header = p->rx.header;
    m->size = p->rx.left;
    m->fds = p->rx.fds;
    p->rx.fds.count = 0;
    int r = vfu_rx_payload(&p->rx, m->payload, m->size, p->stop_fd, USEC_INFINITY);
    if (r == 0)
        r = vfu_rx_finish(&p->rx, p->stop_fd, USEC_INFINITY);
    if (r < 0) {
        message_free(m);
        return r;
    }
    pthread_mutex_lock(&p->lock);
    *p->queue_end = m;
    p->queue_end = &m->next;
    p->queued++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

/* False once the client is gone: the executor then owns what belonged to it. */
static bool read_client(struct vfu_passthrough *p, struct vfu_rx *rx)
{
    int r = vfu_rx_header(rx, p->stop_fd, 0);
    if (r == -ETIMEDOUT)
        return true;
    if (r == 0) {
        uint32_t type = rx->header.flags & VFU_FLAG_TYPE_MASK;
        if (type == VFU_FLAG_REPLY)
            r = passthrough_dma_reply(p, rx);
        else if (type == VFU_FLAG_COMMAND && rx == &p->rx)
            r = read_command(p);
        else
            r = -EPROTO;
    }
    if (r < 0 && r != -ECANCELED) {
        passthrough_cut(p, r == -ENODEV   ? NULL
                           : r == -EPROTO ? "a message of it cannot be understood"
                                          : strerror(-r));
        client_left(p);
    }
    return r >= 0;
}

static void *reader_thread(void *userdata)
{
    struct vfu_passthrough *p = userdata;
    for (;;) {
        /* A negative descriptor is left out by poll. */
        struct pollfd poll_set[] = {
            {.fd = p->stop_fd, .events = POLLIN},
            {.fd = p->wake_fd, .events = POLLIN},
            {.fd = vfu_conn_gone_fd(p->vd->conn), .events = POLLIN},
            {.fd = -1, .events = POLLIN}, /* client */
            {.fd = -1, .events = POLLIN}, /* its twin */
            {.fd = -1, .events = POLLIN}, /* listener */
        };
        pthread_mutex_lock(&p->lock);
        if (!p->connected) {
            poll_set[5].fd = p->listen_fd;
        } else if (!p->leaving) {
            poll_set[3].fd = p->queued < PASSTHROUGH_QUEUE_MAX ? p->client : -1;
            poll_set[4].fd = p->twin;
            p->twin_rx.socket = p->twin;
        }
        pthread_mutex_unlock(&p->lock);
        if (poll(poll_set, ELEMENTS(poll_set), -1) < 0 && errno != EINTR)
            break;
        if (poll_set[0].revents)
            break;
        if (poll_set[2].revents) {
            /* Without the device there is nothing to offer: the client sees the end of its connection. */
            passthrough_cut(p, NULL);
            client_left(p);
            break;
        }
        if (poll_set[1].revents) {
            eventfd_t n;
            eventfd_read(p->wake_fd, &n);
        }
        if (poll_set[5].revents)
            accept_client(p);
        if (poll_set[4].revents && !read_client(p, &p->twin_rx))
            continue;
        if (poll_set[3].revents)
            read_client(p, &p->rx);
    }
    close_fd(&p->listen_fd); /* nobody would answer */
    return NULL;
}

/* Executor. */

static void drop_client(struct vfu_passthrough *p)
{
    bool greeted;
    pthread_mutex_lock(&p->lock);
    while (p->dma.busy && !p->stopping) /* a thread of the device is just leaving its sockets */
        pthread_cond_wait(&p->changed, &p->lock);
    for (struct passthrough_message *m; (m = dequeue(p));)
        message_free(m);
    greeted = p->greeted;
    pthread_mutex_unlock(&p->lock);
    passthrough_tidy(p);

    pthread_mutex_lock(&p->lock);
    pthread_mutex_lock(&p->send_lock);
    close_fd(&p->client);
    close_fd(&p->twin);
    pthread_mutex_unlock(&p->send_lock);
    vfu_rx_done(&p->rx); /* the reader stays away while leaving */
    vfu_rx_done(&p->twin_rx);
    p->greeted = p->connected = p->leaving = false;
    pthread_mutex_unlock(&p->lock);
    if (greeted && p->callbacks && p->callbacks->client_changed)
        p->callbacks->client_changed(p->userdata, false);
    wake_reader(p);
}

static void *executor_thread(void *userdata)
{
    struct vfu_passthrough *p = userdata;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        while (!p->stopping && !p->leaving && !p->queue)
            pthread_cond_wait(&p->changed, &p->lock);
        bool stopping = p->stopping, leaving = p->leaving;
        struct passthrough_message *m = stopping || leaving ? NULL : dequeue(p);
        bool was_full = m && p->queued == PASSTHROUGH_QUEUE_MAX - 1;
        pthread_mutex_unlock(&p->lock);
        if (stopping)
            break;
        if (was_full)
            wake_reader(p);
        if (leaving) {
            drop_client(p);
        } else if (m) {
            passthrough_execute(p, m);
            message_free(m);
        }
    }
    return NULL;
}

/* Life. */

int vfu_passthrough_new(struct vfu_passthrough **ret, struct vfu_device *vd,
                        const struct vfu_device_options *o, struct mig_error *err)
{
    _cleanup_(free_ptr) struct vfu_passthrough *p = calloc(1, sizeof *p);
    if (!p)
        return mig_error_oom(err);
    if (strlen(o->listen_path) >= sizeof p->path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ENAMETOOLONG,
                             "device %s: the path of the pass-through socket is too long", vd->device.name);
    p->vd = vd;
    p->callbacks = o->passthrough;
    p->userdata = o->userdata;
    p->timeout_usec = vd->dma.timeout_usec;
    strcpy(p->path, o->listen_path);
    p->listen_fd = p->client = p->twin = -1;
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->queue_end = &p->queue;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->send_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (p->wake_fd < 0 || p->stop_fd < 0) {
        int r = mig_error_set(err, MIG_ERR_FAILED, errno, "device %s: %s", vd->device.name, strerror(errno));
        vfu_passthrough_free(TAKE_PTR(p));
        return r;
    }
    *ret = TAKE_PTR(p);
    return 0;
}

/* A socket file that a daemon which is no more left behind is in the way of nobody. */
static void remove_stale(const char *path, const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    _cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s >= 0 && connect(s, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED)
        unlink(path);
}

static int bind_socket(struct vfu_passthrough *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(p->path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, p->path);
    _cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return -errno;
    remove_stale(p->path, &address);
    if (bind(s, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    p->bound = true;
    /* Whoever may use it may use the device: its owner decides by chmod or by the folder it is in. */
    if (chmod(p->path, 0600) < 0 || listen(s, 4) < 0)
        return -errno;
    p->listen_fd = TAKE_FD(s);
    return 0;
}

int vfu_passthrough_start(struct vfu_passthrough *p, struct mig_error *err)
{
    int r = bind_socket(p);
    if (r < 0) {
        r = mig_error_set(err, r == -EADDRINUSE ? MIG_ERR_EXISTS : MIG_ERR_FAILED, -r,
                          "device %s: the pass-through socket %s cannot be made: %s", p->vd->device.name,
                          p->path, strerror(-r));
        mig_error_hint(err, "Choose a path in a folder that migd may write to, where no other file is");
        return r;
    }
    r = vfu_thread_start(&p->executor, "vfu-executor", executor_thread, p);
    p->executor_started = r == 0;
    if (r == 0)
        r = vfu_thread_start(&p->reader, "vfu-reader", reader_thread, p);
    p->reader_started = p->executor_started && r == 0;
    return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r,
                                 "device %s: no thread for the pass-through socket: %s", p->vd->device.name,
                                 strerror(-r))
                 : 0;
}

void vfu_passthrough_stop(struct vfu_passthrough *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    passthrough_dma_abort(p);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    eventfd_write(p->stop_fd, 1);
    if (p->reader_started)
        pthread_join(p->reader, NULL);
    if (p->executor_started)
        pthread_join(p->executor, NULL);
    p->reader_started = p->executor_started = false;
    if (p->bound)
        unlink(p->path);
    p->bound = false;
    close_fd(&p->listen_fd);
}

struct vfu_passthrough *vfu_passthrough_free(struct vfu_passthrough *p)
{
    if (!p)
        return NULL;
    vfu_passthrough_stop(p);
    for (struct passthrough_message *m; (m = dequeue(p));)
        message_free(m);
    vfu_rx_done(&p->rx);
    vfu_rx_done(&p->twin_rx);
    close_fd(&p->client);
    close_fd(&p->twin);
    close_fd(&p->wake_fd);
    close_fd(&p->stop_fd);
    free(p->mappings);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->send_lock);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

void vfu_passthrough_status(struct vfu_passthrough *p, struct vfu_device_status *ret)
{
    memcpy(ret->listen_path, p->path, sizeof ret->listen_path);
    pthread_mutex_lock(&p->lock);
    ret->client = p->greeted && !p->leaving;
    ret->foreign_mappings = 0;
    for (size_t i = 0; i < p->nmappings; i++)
        ret->foreign_mappings += p->mappings[i].foreign;
    pthread_mutex_unlock(&p->lock);
}

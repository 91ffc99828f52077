/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands, replies, late replies. Any thread; the owner of the main socket does all of it. */
#include "vfio-user/connection-private.h"
#include "base/clock.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

void vfu_conn_fail(struct vfu_conn *c, const char *format, ...)
{
    pthread_mutex_lock(&c->lock);
    if (!c->gone) {
        va_list ap;
        va_start(ap, format);
        vsnprintf(c->reason, sizeof c->reason, format, ap);
        va_end(ap);
        c->gone = true;
        shutdown(c->main_socket, SHUT_RDWR);
        if (c->twin_socket >= 0)
            shutdown(c->twin_socket, SHUT_RDWR);
        eventfd_write(c->gone_fd, 1);
        pthread_cond_broadcast(&c->freed);
    }
    pthread_mutex_unlock(&c->lock);
}

void vfu_conn_shutdown(struct vfu_conn *c, const char *reason)
{
    vfu_conn_fail(c, "%s", reason);
}

int vfu_conn_gone_fd(const struct vfu_conn *c)
{
    return c->gone_fd;
}

bool vfu_conn_is_gone(const struct vfu_conn *c)
{
    struct vfu_conn *w = (struct vfu_conn *)c;
    pthread_mutex_lock(&w->lock);
    bool gone = w->gone;
    pthread_mutex_unlock(&w->lock);
    return gone;
}

const struct vfu_caps *vfu_conn_caps(const struct vfu_conn *c)
{
    return &c->caps;
}

const char *vfu_conn_label(const struct vfu_conn *c)
{
    return c->label;
}

bool vfu_conn_has_twin(const struct vfu_conn *c)
{
    return c->twin_socket >= 0;
}

/* The device thread must not look at the main socket while it is owned. */
static void own(struct vfu_conn *c, const char *what)
{
    c->busy = true;
    c->busy_with = what;
    epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->main_socket, NULL);
}

int vfu_conn_acquire(struct vfu_conn *c, const char *what, uint64_t deadline_usec, char *busy_with,
                     size_t size)
{
    int r = 0;
    struct timespec until = {.tv_sec = (time_t)(deadline_usec / USEC_PER_SEC),
                             .tv_nsec = (long)(deadline_usec % USEC_PER_SEC * 1000)};
    pthread_mutex_lock(&c->lock);
    while (c->busy && !c->gone && r == 0) {
        if (deadline_usec == USEC_INFINITY)
            pthread_cond_wait(&c->freed, &c->lock);
        else
            r = pthread_cond_timedwait(&c->freed, &c->lock, &until);
    }
    if (c->gone) {
        r = -ENODEV;
    } else if (c->busy) {
        snprintf(busy_with, size, "%s", c->busy_with);
        r = -ETIMEDOUT;
    } else {
        own(c, what);
        r = 0;
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

bool vfu_conn_try_acquire(struct vfu_conn *c, const char *what)
{
    pthread_mutex_lock(&c->lock);
    bool ok = !c->busy && !c->gone;
    if (ok)
        own(c, what);
    pthread_mutex_unlock(&c->lock);
    return ok;
}

void vfu_conn_release(struct vfu_conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = c->main_socket};
    pthread_mutex_lock(&c->lock);
    c->busy = false;
    c->busy_with = NULL;
    if (!c->gone)
        epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->main_socket, &ev);
    pthread_cond_broadcast(&c->freed);
    pthread_mutex_unlock(&c->lock);
}

int vfu_conn_broken(struct vfu_conn *c, int error, const char *why)
{
    switch (error) {
    case -ETIMEDOUT:
        return error;
    case -ECANCELED: /* gone_fd: somebody else has said why */
        return -ENODEV;
    case -ENODEV:
        vfu_conn_fail(c, "it closed the connection");
        return -ENODEV;
    case -EPROTO:
        vfu_conn_fail(c, "%s",
                      why && *why ? why : "it sent a message with a wrong length or too many descriptors");
        return -ENODEV;
    default:
        vfu_conn_fail(c, "the socket failed: %s", strerror(-error));
        return -ENODEV;
    }
}

/* A complete header of a reply: ours (1), a late one that was thrown away (0), or an error. */
static int sort_reply(struct vfu_conn *c, bool want, uint16_t id, uint16_t command, uint64_t deadline_usec,
                      char *why, size_t size)
{
    const struct vfu_header *h = &c->rx.header;
    if (c->late.due && h->msg_id == c->late.id && h->command == c->late.command) {
        int r = vfu_rx_finish(&c->rx, c->gone_fd, deadline_usec);
        if (r == 0)
            c->late.due = false;
        return r;
    }
    if (want && h->msg_id == id && h->command == command)
        return 1;
    snprintf(why, size,
             want ? "it answered message %u (%s) while message %u (%s) was asked"
                  : "it answered message %u (%s) that nobody asked",
             h->msg_id, vfu_command_name(h->command), id, vfu_command_name(command));
    return -EPROTO;
}

int vfu_conn_receive(struct vfu_conn *c, bool want, uint16_t id, uint16_t command, uint64_t deadline_usec)
{
    for (;;) {
        char why[240] = "";
        /* Without a wanted or late reply only what is here already is looked at. */
        uint64_t until = want || c->late.due ? deadline_usec : 0;
        int r = vfu_rx_header(&c->rx, c->gone_fd, until);
        if (r == -ETIMEDOUT && !want && !c->late.due)
            return 0;
        if (r == 0) {
            uint32_t type = c->rx.header.flags & VFU_FLAG_TYPE_MASK;
            if (type == VFU_FLAG_REPLY) {
                r = sort_reply(c, want, id, command, deadline_usec, why, sizeof why);
                if (r == 1)
                    return 0;
            } else {
                r = vfu_dma_serve(c->dma, &c->rx, c->gone_fd, why, sizeof why);
                if (r == -ETIMEDOUT) /* the answer found no room: the server does not read */
                    r = -EPROTO;
            }
        }
        if (r < 0)
            return vfu_conn_broken(c, r, why);
    }
}

static void format_timeout(uint64_t usec, char *text, size_t size)
{
    if (usec % USEC_PER_SEC == 0)
        snprintf(text, size, "%" PRIu64 " s", usec / (uint64_t)USEC_PER_SEC);
    else
        snprintf(text, size, "%" PRIu64 " ms", usec / (uint64_t)USEC_PER_MSEC);
}

static int fail_timeout(struct vfu_conn *c, const char *what, struct mig_error *err)
{
    char within[32];
    format_timeout(c->timeout_usec, within, sizeof within);
    int r = mig_error_set(err, MIG_ERR_DEVICE_TIMEOUT, 0, "%s did not answer %s within %s", c->label, what,
                          within);
    mig_error_hint(
        err,
        "Look whether the device process hangs; a longer command timeout can be given for a slow device");
    return r;
}

static int fail_gone(struct vfu_conn *c, const char *what, struct mig_error *err)
{
    pthread_mutex_lock(&c->lock);
    int r = mig_error_set(err, MIG_ERR_DEVICE_GONE, 0, "%s is gone at %s: %s", c->label, what, c->reason);
    pthread_mutex_unlock(&c->lock);
    mig_error_hint(err, "Start the device process again and attach the device anew");
    return r;
}

/* Before a command is sent: the stream must be at the start of a message and no late reply may be due. */
static int clear_way(struct vfu_conn *c, const char *what, uint64_t deadline_usec, struct mig_error *err)
{
    if (!c->late.due && !vfu_rx_begun(&c->rx))
        return 0;
    int r = vfu_conn_receive(c, false, 0, 0, deadline_usec);
    if (r == -ENODEV)
        return fail_gone(c, what, err);
    if (r == -ETIMEDOUT) {
        r = mig_error_set(
            err, MIG_ERR_DEVICE_TIMEOUT, 0,
            "%s cannot be asked for %s: it still has not answered %s, which was sent %" PRIu64 " s ago",
            c->label, what, c->late.what, (now_usec() - c->late.since_usec) / (uint64_t)USEC_PER_SEC);
        mig_error_hint(
            err,
            "Look whether the device process hangs; the device is used again as soon as the answer comes");
        return r;
    }
    return 0;
}

static int send_command(struct vfu_conn *c, struct vfu_call *call, const char *what, uint16_t *ret_id,
                        struct mig_error *err)
{
    struct vfu_header h = {.msg_id = c->next_id++, .command = call->command, .flags = VFU_FLAG_COMMAND};
    int r = vfu_send(c->main_socket, &h, call->send, call->nsend, call->fds, call->nfds);
    *ret_id = h.msg_id;
    if (r == -ETIMEDOUT)
        return fail_timeout(c, what, err);
    if (r < 0) {
        vfu_conn_broken(c, r, "it stopped reading in the middle of a command");
        return fail_gone(c, what, err);
    }
    return 0;
}

static int feed_sink(struct vfu_conn *c, struct vfu_call *call, uint64_t deadline_usec, int *ret_sink)
{
    size_t room = MIN((size_t)VFU_SINK_PIECE_BYTES, (size_t)c->rx.left);
    _cleanup_free_ void *piece = malloc(room ? room : 1);
    if (!piece) {
        *ret_sink = -ENOMEM;
        return 0;
    }
    for (uint64_t offset = 0; c->rx.left > 0 && *ret_sink == 0;) {
        size_t size = MIN(room, (size_t)c->rx.left);
        int r = vfu_rx_payload(&c->rx, piece, size, c->gone_fd, deadline_usec);
        if (r < 0)
            return r;
        *ret_sink = call->sink(call->userdata, offset, piece, size);
        offset += size;
    }
    return 0;
}

/* Reads the payload of a good reply into the caller's buffers. */
static int take_payload(struct vfu_conn *c, struct vfu_call *call, uint64_t deadline_usec, int *ret_sink)
{
    size_t head = MIN((size_t)c->rx.left, (size_t)call->reply_max);
    int r = vfu_rx_payload(&c->rx, call->reply, head, c->gone_fd, deadline_usec);
    if (r < 0)
        return r;
    if (call->sink)
        r = feed_sink(c, call, deadline_usec, ret_sink);
    else
        r = vfu_rx_payload(&c->rx, call->data, c->rx.left, c->gone_fd, deadline_usec);
    if (r == 0 && call->ret_fds) {
        *call->ret_fds = c->rx.fds;
        c->rx.fds.count = 0;
    }
    return r;
}

static int take_reply(struct vfu_conn *c, struct vfu_call *call, const char *what, uint64_t deadline_usec,
                      struct mig_error *err)
{
    const struct vfu_header h = c->rx.header;
    uint64_t most = (uint64_t)call->reply_max + call->data_max;
    int sink_result = 0, r = 0;
    call->reply_bytes = c->rx.left;
    bool wrong_length = !(h.flags & VFU_FLAG_ERROR) && (c->rx.left < call->reply_min || c->rx.left > most);
    if (c->rx.left > MAX(most, (uint64_t)VFU_MAX_DATA_XFER_BYTES) + 4096) {
        char why[160];
        snprintf(why, sizeof why, "its reply to %s announces %u bytes where at most %" PRIu64 " fit", what,
                 h.size, most + sizeof h);
        vfu_conn_broken(c, -EPROTO, why);
        return fail_gone(c, what, err);
    }
    if (!(h.flags & VFU_FLAG_ERROR) && !wrong_length)
        r = take_payload(c, call, deadline_usec, &sink_result);
    if (r == 0)
        r = vfu_rx_finish(&c->rx, c->gone_fd, deadline_usec);
    if (r < 0)
        return vfu_conn_broken(c, r, NULL);

    if (h.flags & VFU_FLAG_ERROR) {
        call->refused = h.error > 0 && h.error < 4096 ? (int)h.error : EIO;
        return mig_error_set(err, MIG_ERR_DEVICE, call->refused, "%s refused %s: %s", c->label, what,
                             strerror(call->refused));
    }
    if (wrong_length) {
        char expected[64];
        snprintf(expected, sizeof expected, call->reply_min == most ? "%u" : "%u to %" PRIu64,
                 call->reply_min, most);
        return mig_error_set(err, MIG_ERR_DEVICE_PROTOCOL, 0,
                             "%s answered %s with %u bytes where %s were expected", c->label, what,
                             call->reply_bytes, expected);
    }
    if (sink_result < 0)
        return mig_error_set(err, sink_result == -ENOMEM ? MIG_ERR_NO_MEMORY : MIG_ERR_DEVICE_PROTOCOL,
                             -sink_result, "the reply of %s to %s cannot be used: %s", c->label, what,
                             strerror(-sink_result));
    return 0;
}

static int call_owned(struct vfu_conn *c, struct vfu_call *call, const char *what, uint64_t deadline_usec,
                      struct mig_error *err)
{
    uint16_t id = 0;
    int r = clear_way(c, what, deadline_usec, err);
    if (r == 0)
        r = send_command(c, call, what, &id, err);
    if (r < 0)
        return r;
    uint64_t since = now_usec(), deadline = deadline_in(c->timeout_usec);
    r = vfu_conn_receive(c, true, id, call->command, deadline);
    if (r == 0) {
        r = take_reply(c, call, what, deadline, err);
        if (r != -ETIMEDOUT || !vfu_rx_begun(&c->rx))
            goto done;
    }
    if (r == -ETIMEDOUT) {
        c->late.due = true;
        c->late.id = id;
        c->late.command = call->command;
        c->late.since_usec = since;
        snprintf(c->late.what, sizeof c->late.what, "%s", what);
        return fail_timeout(c, what, err);
    }
done:
    if (r == -ENODEV && call->refused != ENODEV)
        return fail_gone(c, what, err);
    return r;
}

int vfu_conn_call(struct vfu_conn *c, struct vfu_call *call, struct mig_error *err)
{
    const char *what = call->what ? call->what : vfu_command_name(call->command);
    uint64_t deadline = deadline_in(c->timeout_usec);
    char busy_with[96];
    call->refused = 0;
    call->reply_bytes = 0;
    if (call->ret_fds)
        call->ret_fds->count = 0;
    int r = vfu_conn_acquire(c, what, deadline, busy_with, sizeof busy_with);
    if (r == -ENODEV)
        return fail_gone(c, what, err);
    if (r == -ETIMEDOUT) {
        char within[32];
        format_timeout(c->timeout_usec, within, sizeof within);
        r = mig_error_set(err, MIG_ERR_DEVICE_TIMEOUT, 0,
                          "%s could not be asked for %s within %s: it is busy with %s", c->label, what,
                          within, busy_with);
        mig_error_hint(err, "Look whether the device process hangs");
        return r;
    }
    r = call_owned(c, call, what, deadline, err);
    vfu_conn_release(c);
    return r;
}

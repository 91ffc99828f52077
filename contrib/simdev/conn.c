/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conn.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define PAYLOAD_MAX_BYTES (VFU_MAX_DATA_XFER_BYTES + 4096u)
#define SPLIT_PIECES      7u
#define SPLIT_PAUSE_USEC  1000u
#define HOLD_MSEC         3
#define HOLD_MAX_BYTES    65536u

struct message *message_free(struct message *m)
{
    for (unsigned i = 0; i < m->n_fds; i++)
        close_fd(&m->fds[i]);
    free(m->payload);
    free(m);
    return NULL;
}

int conn_new(struct conn **ret, int fd, int stop_fd, const struct misbehave *misbehave)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    *c = (struct conn){
        .fd = fd,
        .twin_fd = -1,
        .stop_fd = stop_fd,
        .misbehave = misbehave,
        .max_transfer_bytes = VFU_MAX_DATA_XFER_BYTES,
        .send_lock = PTHREAD_MUTEX_INITIALIZER,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .answered = PTHREAD_COND_INITIALIZER,
    };
    c->queue_end = &c->queued;
    *ret = c;
    return 0;
}

struct conn *conn_free(struct conn *c)
{
    while (c->queued) {
        struct message *m = c->queued;
        c->queued = m->next;
        message_free(m);
    }
    if (c->answer)
        message_free(c->answer);
    free(c->held);
    close_fd(&c->fd);
    close_fd(&c->twin_fd);
    pthread_mutex_destroy(&c->send_lock);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->answered);
    free(c);
    return NULL;
}

void conn_break(struct conn *c)
{
    pthread_mutex_lock(&c->lock);
    c->broken = true;
    pthread_cond_broadcast(&c->answered);
    pthread_mutex_unlock(&c->lock);
    shutdown(c->fd, SHUT_RDWR);
    if (c->twin_fd >= 0)
        shutdown(c->twin_fd, SHUT_RDWR);
}

static bool is_broken(struct conn *c)
{
    pthread_mutex_lock(&c->lock);
    bool broken = c->broken;
    pthread_mutex_unlock(&c->lock);
    return broken;
}

/* One recvmsg(): takes descriptors along, and waits as long as it takes. */
static ssize_t receive_some(struct conn *c, int fd, void *buf, size_t size, struct message *m)
{
    int r = fd_wait(fd, POLLIN, c->stop_fd, USEC_INFINITY);
    if (r < 0)
        return r;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VFU_MAX_MSG_FDS)];
    } control;
    struct iovec iov = {buf, size};
    struct msghdr h = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&h); cmsg; cmsg = CMSG_NXTHDR(&h, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n_fds; i++) {
            int got;
            memcpy(&got, CMSG_DATA(cmsg) + i * sizeof got, sizeof got);
            if (m->n_fds < VFU_MAX_MSG_FDS)
                m->fds[m->n_fds++] = got;
            else
                close_fd(&got);
        }
    }
    return n == 0 ? -EPIPE : n;
}

static int receive_exact(struct conn *c, int fd, void *buf, size_t size, struct message *m, bool first)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = receive_some(c, fd, (char *)buf + done, size - done, m);
        if (n < 0)
            return n == -EPIPE && (done || !first) ? -EPROTO : (int)n;
        done += (size_t)n;
        if (c->misbehave->fragile && n > 0 && done < size) {
            log_warning(
                "a message came in pieces (%zu of %zu bytes): dropping the client, as libvfio-user would",
                done, size);
            return -EPROTO;
        }
    }
    return 0;
}

static int receive_message(struct conn *c, int fd, struct message **ret)
{
    _cleanup_(message_freep) struct message *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    int r = receive_exact(c, fd, &m->header, sizeof m->header, m, true);
    if (r < 0)
        return r;
    if (m->header.size < sizeof m->header || m->header.size - sizeof m->header > PAYLOAD_MAX_BYTES) {
        log_warning("a message of %u bytes", m->header.size);
        if ((m->header.flags & VFU_FLAG_TYPE_MASK) == VFU_FLAG_COMMAND)
            conn_reply(c, &m->header, EINVAL, NULL);
        return -EPROTO;
    }
    m->payload_bytes = m->header.size - sizeof m->header;
    m->payload = malloc(m->payload_bytes + 1);
    if (!m->payload)
        return -ENOMEM;
    r = receive_exact(c, fd, m->payload, m->payload_bytes, m, false);
    if (r == 0)
        *ret = TAKE_PTR(m);
    return r;
}

/* Gives a reply on the main socket to the engine. */
static int hand_over(struct conn *c, struct message *m)
{
    pthread_mutex_lock(&c->lock);
    bool wanted = c->waiting && !c->answer;
    if (wanted) {
        c->answer = m;
        pthread_cond_broadcast(&c->answered);
    }
    pthread_mutex_unlock(&c->lock);
    if (wanted)
        return 0;
    log_warning("a reply that nobody waits for");
    message_free(m);
    return -EPROTO;
}

static int send_bytes(struct conn *c, int fd, const void *data, size_t size, const int *fds, unsigned n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VFU_MAX_MSG_FDS)];
    } control = {};
    for (size_t done = 0; done < size;) {
        struct iovec iov = {(char *)data + done, size - done};
        struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
        if (n_fds && done == 0) {
            h.msg_control = &control;
            h.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
            struct cmsghdr *cmsg = CMSG_FIRSTHDR(&h);
            cmsg->cmsg_level = SOL_SOCKET;
            cmsg->cmsg_type = SCM_RIGHTS;
            cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
            memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
        }
        int r = fd_wait(fd, POLLOUT, c->stop_fd, USEC_INFINITY);
        if (r < 0)
            return r;
        ssize_t n = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

static int send_split(struct conn *c, int fd, const uint8_t *data, size_t size, const int *fds,
                      unsigned n_fds)
{
    size_t piece = 7; /* inside the header */
    for (size_t done = 0; done < size;) {
        size_t n = MIN(piece, size - done);
        int r = send_bytes(c, fd, data + done, n, fds, done == 0 ? n_fds : 0);
        if (r < 0)
            return r;
        done += n;
        piece = MAX(div_round_up(size, SPLIT_PIECES), (uint64_t)5);
        if (done < size)
            usleep(SPLIT_PAUSE_USEC);
    }
    return 0;
}

/* With send_lock held. */
static int flush_held(struct conn *c)
{
    size_t n = c->held_bytes;
    c->held_bytes = 0;
    return n ? send_bytes(c, c->fd, c->held, n, NULL, 0) : 0;
}

/* With send_lock held: keeps data back, to go out in one write with what comes next. */
static int hold(struct conn *c, const void *data, size_t size)
{
    if (!c->held) {
        c->held = malloc(HOLD_MAX_BYTES);
        if (!c->held)
            return -ENOMEM;
    }
    memcpy(c->held + c->held_bytes, data, size);
    c->held_bytes += size;
    return 0;
}

static int send_main(struct conn *c, const uint8_t *data, size_t size, const int *fds, unsigned n_fds,
                     bool last)
{
    pthread_mutex_lock(&c->send_lock);
    int r;
    if (c->misbehave->merge && !n_fds && size <= HOLD_MAX_BYTES - c->held_bytes) {
        r = hold(c, data, size);
        if (r == 0 && last)
            r = flush_held(c);
    } else {
        r = flush_held(c);
        if (r == 0)
            r = c->misbehave->split ? send_split(c, c->fd, data, size, fds, n_fds)
                                    : send_bytes(c, c->fd, data, size, fds, n_fds);
    }
    pthread_mutex_unlock(&c->send_lock);
    return r;
}

int conn_receive(struct conn *c, struct message **ret)
{
    for (;;) {
        if (c->queued) {
            *ret = c->queued;
            c->queued = (*ret)->next;
            (*ret)->next = NULL;
            if (!c->queued)
                c->queue_end = &c->queued;
            return 0;
        }
        if (is_broken(c))
            return -EPIPE;
        if (c->misbehave->merge) {
            /* A client that sends its commands in a row gets the replies in one piece. */
            int r = fd_wait(c->fd, POLLIN, c->stop_fd, deadline_in(HOLD_MSEC * USEC_PER_MSEC));
            if (r == -ETIMEDOUT) {
                pthread_mutex_lock(&c->send_lock);
                r = flush_held(c);
                pthread_mutex_unlock(&c->send_lock);
            }
            if (r < 0)
                return r;
        }
        struct message *m = NULL;
        int r = receive_message(c, c->fd, &m);
        if (r < 0)
            return r;
        if ((m->header.flags & VFU_FLAG_TYPE_MASK) == VFU_FLAG_COMMAND) {
            *ret = m;
            return 0;
        }
        r = hand_over(c, m);
        if (r < 0)
            return r;
    }
}

void conn_pump(struct conn *c, int msec)
{
    if (is_broken(c))
        return;
    int r = fd_wait(c->fd, POLLIN, c->stop_fd, deadline_in((uint64_t)msec * USEC_PER_MSEC));
    if (r == -ETIMEDOUT)
        return;
    struct message *m = NULL;
    if (r >= 0)
        r = receive_message(c, c->fd, &m);
    if (r == 0 && (m->header.flags & VFU_FLAG_TYPE_MASK) == VFU_FLAG_COMMAND) {
        *c->queue_end = m;
        c->queue_end = &m->next;
    } else if (r == 0) {
        r = hand_over(c, m);
    }
    if (r < 0)
        conn_break(c);
}

int conn_reply(struct conn *c, const struct vfu_header *command, int errnum, const struct reply *reply)
{
    static const uint8_t rubbish[20] = {0xa5, 0xa5, 0xa5, 0xa5, 0xff, 0xff, 0xff, 0xff, 0xa5, 0xa5};
    uint8_t own[sizeof(struct vfu_header) + sizeof rubbish], *data = own;
    size_t size = sizeof(struct vfu_header);
    if (errnum && c->misbehave->error_payload) {
        memcpy(data + size, rubbish, sizeof rubbish);
        size += sizeof rubbish;
    } else if (!errnum && reply && reply->payload) {
        data = reply->message;
        size += reply->payload_bytes;
    }
    struct vfu_header h = {
        .msg_id = command->msg_id,
        .command = command->command,
        .size = !errnum && reply && reply->header_bytes ? reply->header_bytes : (uint32_t)size,
        .flags = VFU_FLAG_REPLY | (errnum ? VFU_FLAG_ERROR : 0),
        .error = (uint32_t)errnum,
    };
    memcpy(data, &h, sizeof h);
    bool with_fds = reply && !errnum;
    return send_main(c, data, size, with_fds ? reply->fds : NULL, with_fds ? reply->n_fds : 0, false);
}

/* Waits until the server thread has met the reply. */
static int wait_for_answer(struct conn *c, struct message **ret)
{
    pthread_mutex_lock(&c->lock);
    while (!c->answer && !c->broken)
        pthread_cond_wait(&c->answered, &c->lock);
    *ret = TAKE_PTR(c->answer);
    c->waiting = false;
    pthread_mutex_unlock(&c->lock);
    return *ret ? 0 : -EPIPE;
}

/* Sends a DMA command and takes its reply. */
static int dma_request(struct conn *c, uint16_t command, uint64_t iova, const void *data, size_t size,
                       void *back)
{
    size_t payload = sizeof(struct vfu_dma_rw) + (data ? size : 0);
    uint8_t buf[sizeof(struct vfu_header) + sizeof(struct vfu_dma_rw) + 256];
    if (size > 256 || size > c->max_transfer_bytes)
        return -EMSGSIZE;
    struct vfu_header h = {
        .msg_id = ++c->next_id,
        .command = command,
        .size = (uint32_t)(sizeof h + payload),
    };
    struct vfu_dma_rw rw = {.address = iova, .count = size};
    memcpy(buf, &h, sizeof h);
    memcpy(buf + sizeof h, &rw, sizeof rw);
    if (data)
        memcpy(buf + sizeof h + sizeof rw, data, size);

    int r;
    _cleanup_(message_freep) struct message *m = NULL;
    if (c->twin_fd >= 0) {
        r = send_bytes(c, c->twin_fd, buf, h.size, NULL, 0);
        if (r == 0)
            r = receive_message(c, c->twin_fd, &m);
    } else {
        pthread_mutex_lock(&c->lock);
        c->waiting = true;
        pthread_mutex_unlock(&c->lock);
        r = send_main(c, buf, h.size, NULL, 0, true);
        if (r == 0)
            r = wait_for_answer(c, &m);
    }
    if (r < 0)
        return -EPIPE;
    if (m->header.msg_id != h.msg_id || m->header.command != command ||
        (m->header.flags & VFU_FLAG_TYPE_MASK) != VFU_FLAG_REPLY)
        return -EPIPE;
    if (m->header.flags & VFU_FLAG_ERROR)
        return -EIO;
    if (m->payload_bytes != sizeof rw + (back ? size : 0) || memcmp(m->payload, &rw, sizeof rw) != 0) {
        log_warning("the reply to a DMA message repeats it wrongly");
        return -EPIPE;
    }
    if (back)
        memcpy(back, m->payload + sizeof rw, size);
    return 0;
}

int conn_dma_write(struct conn *c, uint64_t iova, const void *data, size_t size)
{
    return dma_request(c, VFU_DMA_WRITE, iova, data, size, NULL);
}

int conn_dma_read(struct conn *c, uint64_t iova, void *data, size_t size)
{
    return dma_request(c, VFU_DMA_READ, iova, NULL, size, data);
}

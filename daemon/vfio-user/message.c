/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio-user/message.h"
#include "base/fds.h"
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void vfu_fds_close(struct vfu_fds *fds)
{
    for (unsigned i = 0; i < fds->count; i++)
        close_fd(&fds->fd[i]);
    fds->count = 0;
}

static int socket_error(int error)
{
    switch (error) {
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return -ENODEV;
    case EAGAIN:
        return -ETIMEDOUT;
    default:
        return -error;
    }
}

int vfu_send(int socket, struct vfu_header *h, const struct iovec *parts, unsigned nparts, const int *fds,
             unsigned nfds)
{
    struct iovec iov[VFU_SEND_PARTS_MAX + 1] = {{.iov_base = h, .iov_len = sizeof *h}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(VFU_MAX_MSG_FDS * sizeof(int))];
    } control = {0};
    if (nparts > VFU_SEND_PARTS_MAX || nfds > VFU_MAX_MSG_FDS)
        return -EINVAL;
    uint64_t size = sizeof *h;
    for (unsigned i = 0; i < nparts; i++) {
        iov[i + 1] = parts[i];
        size += parts[i].iov_len;
    }
    if (size > UINT32_MAX)
        return -E2BIG;
    h->size = (uint32_t)size;

    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = nparts + 1};
    if (nfds > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    for (uint64_t sent = 0; sent < size;) {
        ssize_t n = sendmsg(socket, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sent > 0 && errno == EAGAIN ? -EPROTO : socket_error(errno);
        sent += (uint64_t)n;
        msg.msg_control = NULL; /* the descriptors went with the first byte */
        msg.msg_controllen = 0;
        for (size_t skip = (size_t)n; skip > 0 && msg.msg_iovlen > 0;) {
            size_t step = MIN(skip, msg.msg_iov[0].iov_len);
            msg.msg_iov[0].iov_base = (char *)msg.msg_iov[0].iov_base + step;
            msg.msg_iov[0].iov_len -= step;
            skip -= step;
            if (msg.msg_iov[0].iov_len == 0) {
                msg.msg_iov++;
                msg.msg_iovlen--;
            }
        }
    }
    return 0;
}

int vfu_send_error(int socket, const struct vfu_header *to, int error)
{
    struct vfu_header h = {
        .msg_id = to->msg_id,
        .command = to->command,
        .flags = VFU_FLAG_REPLY | VFU_FLAG_ERROR,
        .error = (uint32_t)error,
    };
    return vfu_send(socket, &h, NULL, 0, NULL, 0);
}

void vfu_rx_init(struct vfu_rx *rx, int socket)
{
    *rx = (struct vfu_rx){.socket = socket};
}

void vfu_rx_done(struct vfu_rx *rx)
{
    vfu_fds_close(&rx->fds);
    rx->have = 0;
    rx->left = 0;
}

/* Takes over every descriptor of the message, so that none leaks whatever is wrong with it. */
static int take_fds(struct vfu_rx *rx, struct msghdr *msg)
{
    int r = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (rx->fds.count < VFU_MAX_MSG_FDS) {
                rx->fds.fd[rx->fds.count++] = fd;
            } else {
                close(fd);
                r = -EPROTO;
            }
        }
    }
    return r;
}

/* One receive of at most size bytes. > 0, or as in the header. */
static ssize_t receive(struct vfu_rx *rx, void *buf, size_t size, bool with_fds, int cancel_fd,
                       uint64_t deadline_usec)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(VFU_MAX_MSG_FDS * sizeof(int))];
    } control;
    for (;;) {
        struct iovec iov = {.iov_base = buf, .iov_len = size};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        if (with_fds) {
            msg.msg_control = control.bytes;
            msg.msg_controllen = sizeof control.bytes;
        } /* else the kernel drops descriptors: they belong to the header */
        ssize_t n = recvmsg(rx->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n > 0 && with_fds) {
            int r = take_fds(rx, &msg);
            if (r < 0)
                return r;
        }
        if (n > 0)
            return n;
        if (n == 0)
            return -ENODEV;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return socket_error(errno);
        if (deadline_usec == 0)
            return -ETIMEDOUT;
        int r = fd_wait(rx->socket, POLLIN, cancel_fd, deadline_usec);
        if (r < 0)
            return r;
    }
}

int vfu_rx_header(struct vfu_rx *rx, int cancel_fd, uint64_t deadline_usec)
{
    while (rx->have < sizeof rx->header) {
        ssize_t n = receive(rx, (char *)&rx->header + rx->have, sizeof rx->header - rx->have, true, cancel_fd,
                            deadline_usec);
        if (n < 0)
            return (int)n;
        rx->have += (size_t)n;
        if (rx->have == sizeof rx->header) {
            if (rx->header.size < sizeof rx->header)
                return -EPROTO;
            rx->left = rx->header.size - (uint32_t)sizeof rx->header;
        }
    }
    return 0;
}

int vfu_rx_payload(struct vfu_rx *rx, void *buf, size_t size, int cancel_fd, uint64_t deadline_usec)
{
    if (size > rx->left)
        return -EPROTO;
    for (size_t done = 0; done < size;) {
        ssize_t n = receive(rx, (char *)buf + done, size - done, false, cancel_fd, deadline_usec);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
        rx->left -= (uint32_t)n;
    }
    return 0;
}

int vfu_rx_finish(struct vfu_rx *rx, int cancel_fd, uint64_t deadline_usec)
{
    char waste[4096];
    vfu_fds_close(&rx->fds);
    while (rx->left > 0) {
        ssize_t n = receive(rx, waste, MIN(sizeof waste, (size_t)rx->left), false, cancel_fd, deadline_usec);
        if (n < 0)
            return (int)n;
        rx->left -= (uint32_t)n;
    }
    rx->have = 0;
    return 0;
}

const char *vfu_command_name(uint16_t command)
{
    static const char *const names[] = {
        [VFU_VERSION] = "VERSION",
        [VFU_DMA_MAP] = "DMA_MAP",
        [VFU_DMA_UNMAP] = "DMA_UNMAP",
        [VFU_DEVICE_GET_INFO] = "DEVICE_GET_INFO",
        [VFU_DEVICE_GET_REGION_INFO] = "DEVICE_GET_REGION_INFO",
        [VFU_DEVICE_GET_REGION_IO_FDS] = "DEVICE_GET_REGION_IO_FDS",
        [VFU_DEVICE_GET_IRQ_INFO] = "DEVICE_GET_IRQ_INFO",
        [VFU_DEVICE_SET_IRQS] = "DEVICE_SET_IRQS",
        [VFU_REGION_READ] = "REGION_READ",
        [VFU_REGION_WRITE] = "REGION_WRITE",
        [VFU_DMA_READ] = "DMA_READ",
        [VFU_DMA_WRITE] = "DMA_WRITE",
        [VFU_DEVICE_RESET] = "DEVICE_RESET",
        [VFU_REGION_WRITE_MULTI] = "REGION_WRITE_MULTI",
        [VFU_DEVICE_FEATURE] = "DEVICE_FEATURE",
        [VFU_MIG_DATA_READ] = "MIG_DATA_READ",
        [VFU_MIG_DATA_WRITE] = "MIG_DATA_WRITE",
    };
    return command < ELEMENTS(names) && names[command] ? names[command] : "an unknown command";
}

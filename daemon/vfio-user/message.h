/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Framing: whole vfio-user messages on a stream socket. No lock and no thread of its own; whoever owns the
 * direction calls.
 *
 * Sending is one sendmsg per message, because common servers read a body with a single recv. Receiving loops
 * and can be left at any byte and taken up later, so that a reply which comes after its timeout does not lose
 * the stream.
 */
#pragma once
#include "base/util.h"
#include "vfio-user.h"
#include <sys/uio.h>

struct vfu_fds {
    int fd[VFU_MAX_MSG_FDS];
    unsigned count;
};
void vfu_fds_close(struct vfu_fds *fds);

#define VFU_SEND_PARTS_MAX 4

/* Sends header and parts; h->size is filled in. The socket's SO_SNDTIMEO bounds the wait for room.
 * Descriptors stay the caller's. -ETIMEDOUT: nothing was sent. -EPROTO: a part was sent, the stream is lost.
 * -ENODEV: the other side is gone. -errno. */
int vfu_send(int socket, struct vfu_header *h, const struct iovec *parts, unsigned nparts, const int *fds,
             unsigned nfds);
/* A header-only error reply to `to`. error: positive errno. */
int vfu_send_error(int socket, const struct vfu_header *to, int error);

/* One direction of one socket. */
struct vfu_rx {
    int socket; /* borrowed */
    struct vfu_header header;
    size_t have;   /* bytes of the header that are here */
    uint32_t left; /* bytes of the payload that are still to come; valid once the header is complete */
    struct vfu_fds fds;
};
void vfu_rx_init(struct vfu_rx *rx, int socket);
void vfu_rx_done(struct vfu_rx *rx);
/* In the middle of a message. */
static inline bool vfu_rx_begun(const struct vfu_rx *rx)
{
    return rx->have > 0;
}

/* All three: 0, -ETIMEDOUT (what arrived is kept; call again), -ECANCELED (cancel_fd is readable), -ENODEV
 * (end of file), -EPROTO (size below 16, or descriptors that were cut off), -errno. deadline 0: only what is
 * here already. */

/* Until the header is complete; at once when it is. Descriptors are then in rx->fds. */
int vfu_rx_header(struct vfu_rx *rx, int cancel_fd, uint64_t deadline_usec);
/* The next `size` <= left bytes of the payload. Not resumable after -ETIMEDOUT. */
int vfu_rx_payload(struct vfu_rx *rx, void *buf, size_t size, int cancel_fd, uint64_t deadline_usec);
/* Throws the rest of the message away, its descriptors included, and is ready for the next. Resumable. */
int vfu_rx_finish(struct vfu_rx *rx, int cancel_fd, uint64_t deadline_usec);

const char *vfu_command_name(uint16_t command);

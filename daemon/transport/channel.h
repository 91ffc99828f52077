/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel: one connection to the peer, as bytes. TCP and UNIX sockets and TLS fill the ops. Nobody but they
 * touches fd: a channel may have taken bytes from it that nobody asked for yet.
 *
 * Every call blocks its thread, wakes at once when the channel's cancel descriptor becomes readable
 * (-ECANCELED), and fails with -ETIMEDOUT when not a single byte moved for the channel's stall timeout. A
 * channel may be sent to by one thread and received from by another.
 */
#pragma once
#include "base/error.h"
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct channel;
struct channel_ops {
    const char *kind; /* "tcp", "unix" */
    /* recvv writes the pieces in user space: memory that cannot be had is a SIGBUS there and no -EFAULT, so
     * it must be present before. */
    bool writes_memory;
    int (*sendv)(struct channel *c, struct iovec *iov, int iovcnt); /* all of it; iov is consumed */
    /* size bytes of a file from offset, without a copy in user space; -EOPNOTSUPP when the channel cannot:
     * then use sendv. */
    int (*send_file)(struct channel *c, int fd, uint64_t offset_bytes, uint64_t size_bytes);
    /* All of it; iov is consumed. -EPIPE when the peer closed before the first byte, -ECONNRESET in the
     * middle. */
    int (*recvv)(struct channel *c, struct iovec *iov, int iovcnt);
    /* Until there is something to receive, or the end of the stream; moves nothing. For places where a silent
     * peer is in order. */
    int (*wait_readable)(struct channel *c, uint64_t timeout_usec);
    void (*shutdown)(struct channel *c); /* any thread: ends blocked calls on both sides */
    void (*destroy)(struct channel *c);
};
struct channel {
    const struct channel_ops *ops;
    int fd;
    int cancel_fd; /* borrowed; -1: none */
    uint64_t stall_timeout_usec;
    uint64_t deadline_usec; /* of every wait, whatever moved; 0: none */
    bool send_more; /* sender's thread: the next sendv is followed by more at once, so it need not become a
                       packet of its own */
    bool local;     /* the peer is on this host */
    /* Sender's thread: who sends can make this connection anew. It fails with -EKEYEXPIRED, and everything
     * until then has gone out, when its key has encrypted about as much as it should; else only when it must
     * not encrypt more. */
    bool renewable;
    char peer[128]; /* for messages: "10.0.0.2:16509" */
    _Atomic uint64_t sent_bytes, received_bytes;
};

static inline struct channel *channel_free(struct channel *c)
{
    if (c)
        c->ops->destroy(c);
    return NULL;
}
DEFINE_CLEANUP(struct channel *, channel_free)

#define CHANNEL_STALL_TIMEOUT_USEC UINT64_C(10000000)

/* Where a name led to. Looking a name up may block for as long as the resolver takes, and lead elsewhere the
 * next time: who connects again to the same peer keeps this. */
struct channel_place {
    struct sockaddr_storage address;
    socklen_t size; /* 0: nowhere yet */
};
/* "host[:port]", "[v6]:port", "unix:PATH" (or an absolute path). Connects within timeout; err says which
 * address and why. place: NULL, or where to connect to instead of looking the name up; filled when it was
 * nowhere yet and the connection stands. */
int channel_connect_again(struct channel **ret, const char *address, struct channel_place *place,
                          uint64_t timeout_usec, int cancel_fd, struct mig_error *err);
static inline int channel_connect(struct channel **ret, const char *address, uint64_t timeout_usec,
                                  int cancel_fd, struct mig_error *err)
{
    return channel_connect_again(ret, address, NULL, timeout_usec, cancel_fd, err);
}
/* An accepted socket, taken over (also on failure). */
int channel_from_socket(struct channel **ret, int fd, const char *peer, int cancel_fd);
/* Listening socket for the same forms of address; port 0 lets the kernel choose. *ret_bound: malloc'ed
 * address it is bound to. */
int channel_listen(int *ret_fd, char **ret_bound, const char *address, struct mig_error *err);
/* The address of a listening socket that somebody else bound; malloc'ed. */
int channel_listening_address(int fd, char **ret, struct mig_error *err);
/* For the negative errno r of a call above: fills err with the fitting code, "WHAT: PEER: why", and the
 * remedy. Returns r. */
int channel_error(const struct channel *c, int r, struct mig_error *err, const char *what);

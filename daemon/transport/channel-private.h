/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kinds of channels share of a stream socket. For the files of this folder. */
#pragma once
#include "transport/channel.h"

#define CHANNEL_LOW_MARK_MAX (256 << 10)

/* Drops the first n bytes of the pieces. */
void channel_consume(struct iovec **iov, int *iovcnt, size_t n);
/* Until the socket takes more, the cancel, or no byte has left its queue for the stall timeout. */
int channel_wait_writable(struct channel *c);
int channel_wait_readable(struct channel *c, uint64_t timeout_usec);
/*
 * A receiver that is woken for every segment spends its time, and the sender's, on waking up. While much of a
 * piece is still to come it asks to be woken when a good part is there. *mark, 1 at first, is what the socket
 * has now; it is 1 again, by wanted_bytes 0, before anybody else may poll the socket. Never ask for more than
 * is sure to come.
 */
void channel_set_low_mark(struct channel *c, int *mark, uint64_t wanted_bytes);
int channel_wait_for_more(struct channel *c, int *mark, uint64_t wanted_bytes);
/* Somebody on this host who kills a connection (ss -K) makes it ECONNABORTED: no more than a broken one, and
 * not to be taken for a peer that said it gave up. */
int channel_socket_errno(int e);
int channel_socket_sendv(struct channel *c, struct iovec *iov, int iovcnt);
int channel_socket_send_file(struct channel *c, int fd, uint64_t offset_bytes, uint64_t size_bytes);

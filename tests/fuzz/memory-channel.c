/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory-channel.h"
#include "base/util.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int memory_sendv(struct channel *c, struct iovec *iov, int iovcnt)
{
    for (int i = 0; i < iovcnt; i++)
        atomic_fetch_add(&c->sent_bytes, iov[i].iov_len);
    return 0;
}

static int memory_send_file(struct channel *c, int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
    atomic_fetch_add(&c->sent_bytes, size_bytes);
    return 0;
}

static int memory_recvv(struct channel *c, struct iovec *iov, int iovcnt)
{
    struct memory_channel *m = (struct memory_channel *)c;
    bool any = false;
    for (int i = 0; i < iovcnt; i++) {
        size_t n = MIN(iov[i].iov_len, m->left_bytes);
        if (n)
            memcpy(iov[i].iov_base, m->data, n);
        m->data += n;
        m->left_bytes -= n;
        any |= n > 0;
        if (n < iov[i].iov_len)
            return any ? -ECONNRESET : -EPIPE;
    }
    return 0;
}

static int memory_wait_readable(struct channel *c, uint64_t timeout_usec)
{
    struct memory_channel *m = (struct memory_channel *)c;
    m->waited = !m->waited;
    return m->paced && (m->waited || m->left_bytes == 0) ? -ETIMEDOUT : 0;
}

static void memory_nothing(struct channel *c)
{
}

static const struct channel_ops memory_ops = {
    .kind = "memory",
    .sendv = memory_sendv,
    .send_file = memory_send_file,
    .recvv = memory_recvv,
    .wait_readable = memory_wait_readable,
    .shutdown = memory_nothing,
    .destroy = memory_nothing,
};

void memory_channel_init(struct memory_channel *m, const uint8_t *data, size_t size_bytes)
{
    *m = (struct memory_channel){
        .base = {.ops = &memory_ops, .fd = -1, .cancel_fd = -1}, .data = data, .left_bytes = size_bytes};
    snprintf(m->base.peer, sizeof m->base.peer, "fuzzer");
}

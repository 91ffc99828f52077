/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DMA messages of the device that go on to the pass-through client. Asked on the thread that received the
 * device's message; answered by the reader. One at a time.
 */
#include "vfio-user/passthrough-private.h"
#include "base/clock.h"
#include <string.h>

static bool covered(struct vfu_passthrough *p, uint64_t address, uint32_t count, uint32_t need)
{
    for (size_t i = 0; i < p->nmappings; i++) {
        const struct passthrough_mapping *m = &p->mappings[i];
        if (m->foreign && (m->prot & need) == need && address >= m->iova &&
            range_inside(address - m->iova, count, m->size_bytes))
            return true;
    }
    return false;
}

static struct timespec as_timespec(uint64_t usec)
{
    return (struct timespec){.tv_sec = (time_t)(usec / USEC_PER_SEC),
                             .tv_nsec = (long)(usec % USEC_PER_SEC * 1000)};
}

/* lock held. */
static int begin(struct vfu_passthrough *p, bool write, uint64_t address, void *buf, uint32_t count,
                 const struct timespec *until)
{
    while (p->dma.busy && !p->stopping)
        if (pthread_cond_timedwait(&p->changed, &p->lock, until) == ETIMEDOUT)
            return -ETIMEDOUT;
    if (p->stopping || !p->greeted || p->leaving)
        return -EIO;
    if (!covered(p, address, count, write ? IOVA_WRITE : IOVA_READ))
        return -EFAULT;
    p->dma.busy = p->dma.waiting = true;
    p->dma.id++;
    p->dma.write = write;
    p->dma.address = address;
    p->dma.buf = buf;
    p->dma.count = count;
    p->dma.result = -ETIMEDOUT;
    return 0;
}

static int forward_piece(struct vfu_passthrough *p, bool write, uint64_t address, void *buf, uint32_t count)
{
    struct timespec until = as_timespec(deadline_in(p->timeout_usec));
    pthread_mutex_lock(&p->lock);
    int r = begin(p, write, address, buf, count, &until);
    if (r < 0) {
        pthread_mutex_unlock(&p->lock);
        return r;
    }
    struct vfu_header h = {
        .msg_id = p->dma.id, .command = write ? VFU_DMA_WRITE : VFU_DMA_READ, .flags = VFU_FLAG_COMMAND};
    struct vfu_dma_rw rw = {.address = address, .count = count};
    struct iovec parts[2] = {{&rw, sizeof rw}, {buf, count}};
    bool on_twin = p->twin >= 0;
    pthread_mutex_unlock(&p->lock);

    r = passthrough_send(p, on_twin, &h, parts, write ? 2 : 1, NULL, 0);

    pthread_mutex_lock(&p->lock);
    while (r == 0 && p->dma.waiting)
        if (pthread_cond_timedwait(&p->changed, &p->lock, &until) == ETIMEDOUT)
            break;
    if (r == 0)
        r = p->dma.result;
    p->dma.busy = p->dma.waiting = false;
    p->dma.buf = NULL;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return r;
}

static int forward(struct vfu_passthrough *p, bool write, uint64_t address, void *buf, uint32_t count)
{
    pthread_mutex_lock(&p->lock);
    uint32_t most = MIN(p->client_caps.max_data_xfer_bytes, VFU_SAFE_PAYLOAD_BYTES);
    pthread_mutex_unlock(&p->lock);
    if (most == 0)
        return -EIO;
    int r = 0;
    for (uint32_t done = 0, piece; done < count && r == 0; done += piece) {
        piece = MIN(count - done, most);
        r = forward_piece(p, write, address + done, (char *)buf + done, piece);
    }
    return r;
}

static int foreign_read(void *userdata, uint64_t address, void *buf, uint32_t count)
{
    return forward(userdata, false, address, buf, count);
}

static int foreign_write(void *userdata, uint64_t address, const void *buf, uint32_t count)
{
    return forward(userdata, true, address, (void *)buf, count);
}

const struct vfu_foreign_ops vfu_passthrough_foreign = {.read = foreign_read, .write = foreign_write};

/* The answer's own fields must repeat the question. The reply to a write has a 4-byte count in the protocol
 * text and an 8-byte one in libvfio-user; only its presence is looked at. */
static int judge(struct vfu_passthrough *p, const uint8_t *payload, uint32_t size)
{
    uint64_t address, count;
    if (size < 12)
        return -EPROTO;
    memcpy(&address, payload, sizeof address);
    if (address != p->dma.address)
        return -EPROTO;
    if (p->dma.write)
        return 0;
    if (size != sizeof(struct vfu_dma_rw) + p->dma.count)
        return -EPROTO;
    memcpy(&count, payload + sizeof address, sizeof count);
    if (count != p->dma.count)
        return -EPROTO;
    memcpy(p->dma.buf, payload + sizeof(struct vfu_dma_rw), p->dma.count);
    return 0;
}

int passthrough_dma_reply(struct vfu_passthrough *p, struct vfu_rx *rx)
{
    struct vfu_header h = rx->header;
    if (rx->left > PASSTHROUGH_PAYLOAD_MAX)
        return -EPROTO;
    uint32_t size = rx->left;
    _cleanup_free_ uint8_t *payload = malloc(size ? size : 1);
    if (!payload)
        return -ENOMEM;
    int r = vfu_rx_payload(rx, payload, size, p->stop_fd, USEC_INFINITY);
    if (r == 0)
        r = vfu_rx_finish(rx, p->stop_fd, USEC_INFINITY);
    if (r < 0)
        return r;
    pthread_mutex_lock(&p->lock);
    /* An answer that nobody waits for any more is a late one. */
    if (p->dma.waiting && h.msg_id == p->dma.id &&
        h.command == (p->dma.write ? VFU_DMA_WRITE : VFU_DMA_READ)) {
        if (h.flags & VFU_FLAG_ERROR)
            p->dma.result = h.error > 0 && h.error < 4096 ? -(int)h.error : -EIO;
        else
            p->dma.result = judge(p, payload, size);
        p->dma.waiting = false;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return 0;
}

void passthrough_dma_abort(struct vfu_passthrough *p)
{
    if (p->dma.waiting) {
        p->dma.result = -EIO;
        p->dma.waiting = false;
    }
    pthread_cond_broadcast(&p->changed);
}

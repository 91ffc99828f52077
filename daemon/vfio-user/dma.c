/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio-user/dma.h"
#include "base/clock.h"
#include <stdio.h>
#include <string.h>

/* One step of a copy: the part of [address, address + count) that one mapping covers. Takes a region
 * reference. */
static int step(struct vfu_dma *dma, uint64_t address, uint64_t count, uint32_t need, struct iova_mapping *m,
                uint8_t **ret_at, uint64_t *ret_bytes)
{
    if (iova_map_lookup(dma->map, address, m) < 0)
        return -EFAULT;
    if ((m->prot & need) != need || ((need & IOVA_WRITE) && !m->region->writable)) {
        region_unref(m->region);
        return -EACCES;
    }
    uint64_t into = address - m->iova;
    *ret_at = m->region->map + m->offset_bytes + into;
    *ret_bytes = MIN(count, m->size_bytes - into);
    return 0;
}

int vfu_dma_copy_out(struct vfu_dma *dma, uint64_t address, void *buf, uint64_t count)
{
    for (uint64_t done = 0, bytes = 0; done < count; done += bytes) {
        struct iova_mapping m;
        uint8_t *at;
        int r = step(dma, address + done, count - done, IOVA_READ, &m, &at, &bytes);
        if (r < 0)
            return r;
        memcpy((char *)buf + done, at, bytes);
        region_unref(m.region);
    }
    return 0;
}

int vfu_dma_copy_in(struct vfu_dma *dma, uint64_t address, const void *buf, uint64_t count)
{
    for (uint64_t done = 0, bytes = 0; done < count; done += bytes) {
        struct iova_mapping m;
        uint8_t *at;
        int r = step(dma, address + done, count - done, IOVA_WRITE, &m, &at, &bytes);
        if (r < 0)
            return r;
        memcpy(at, (const char *)buf + done, bytes);
        /* Marked after the bytes are there: the other way round a harvest in between would take the mark,
         * read the old page, and nobody would ever ask for the new one. */
        uint64_t first = (uint64_t)(at - m.region->map);
        region_mark(m.region, first >> REGION_PAGE_SHIFT,
                    ((first + bytes - 1) >> REGION_PAGE_SHIFT) - (first >> REGION_PAGE_SHIFT) + 1);
        region_unref(m.region);
    }
    return 0;
}

static bool is_mapped(struct vfu_dma *dma, uint64_t address)
{
    struct iova_mapping m;
    if (iova_map_lookup(dma->map, address, &m) < 0)
        return false;
    region_unref(m.region);
    return true;
}

static int transfer(struct vfu_dma *dma, bool write, const struct vfu_dma_rw *rw, void *data)
{
    if (dma->foreign && rw->count > 0 && !is_mapped(dma, rw->address)) {
        uint32_t count = (uint32_t)rw->count;
        return write ? dma->foreign->write(dma->foreign_userdata, rw->address, data, count)
                     : dma->foreign->read(dma->foreign_userdata, rw->address, data, count);
    }
    return write ? vfu_dma_copy_in(dma, rw->address, data, rw->count)
                 : vfu_dma_copy_out(dma, rw->address, data, rw->count);
}

/* A message that is refused is read to its end all the same: the stream goes on after it. */
static int refuse(struct vfu_dma *dma, struct vfu_rx *rx, int error, int cancel_fd, uint64_t deadline_usec)
{
    struct vfu_header h = rx->header;
    atomic_fetch_add_explicit(&dma->refused, 1, memory_order_relaxed);
    int r = vfu_rx_finish(rx, cancel_fd, deadline_usec);
    if (r == 0 && !(h.flags & VFU_FLAG_NO_REPLY))
        r = vfu_send_error(rx->socket, &h, error);
    return r;
}

static int serve(struct vfu_dma *dma, struct vfu_rx *rx, int cancel_fd, uint64_t deadline_usec)
{
    struct vfu_header h = rx->header;
    bool write = h.command == VFU_DMA_WRITE;
    struct vfu_dma_rw rw;
    if (rx->left < sizeof rw)
        return refuse(dma, rx, EINVAL, cancel_fd, deadline_usec);
    int r = vfu_rx_payload(rx, &rw, sizeof rw, cancel_fd, deadline_usec);
    if (r < 0)
        return r;
    if (rw.count > dma->max_bytes || rx->left != (write ? rw.count : 0) || rw.address > UINT64_MAX - rw.count)
        return refuse(dma, rx, EINVAL, cancel_fd, deadline_usec);
    _cleanup_free_ void *data = malloc(rw.count ? rw.count : 1);
    if (!data)
        return refuse(dma, rx, ENOMEM, cancel_fd, deadline_usec);
    if (write && (r = vfu_rx_payload(rx, data, rw.count, cancel_fd, deadline_usec)) < 0)
        return r;

    int error = -transfer(dma, write, &rw, data);
    if (error)
        return refuse(dma, rx, error, cancel_fd, deadline_usec);
    r = vfu_rx_finish(rx, cancel_fd, deadline_usec);
    if (r < 0)
        return r;
    atomic_fetch_add_explicit(write ? &dma->writes : &dma->reads, 1, memory_order_relaxed);
    if (h.flags & VFU_FLAG_NO_REPLY)
        return 0;
    struct vfu_header reply = {.msg_id = h.msg_id, .command = h.command, .flags = VFU_FLAG_REPLY};
    struct iovec parts[2] = {{.iov_base = &rw, .iov_len = sizeof rw},
                             {.iov_base = data, .iov_len = rw.count}};
    return vfu_send(rx->socket, &reply, parts, write ? 1 : 2, NULL, 0);
}

int vfu_dma_serve(struct vfu_dma *dma, struct vfu_rx *rx, int cancel_fd, char *why, size_t why_size)
{
    const struct vfu_header *h = &rx->header;
    const char *name = vfu_command_name(h->command);
    if ((h->flags & VFU_FLAG_TYPE_MASK) != VFU_FLAG_COMMAND ||
        (h->command != VFU_DMA_READ && h->command != VFU_DMA_WRITE)) {
        snprintf(why, why_size, "it sent %s (command %u, flags 0x%x) where only DMA messages may come", name,
                 h->command, h->flags);
        return -EPROTO;
    }
    if (rx->left > sizeof(struct vfu_dma_rw) + (uint64_t)dma->max_bytes) {
        snprintf(why, why_size, "it sent %s of %u bytes, %u data bytes were agreed at most", name, h->size,
                 dma->max_bytes);
        return -EPROTO;
    }
    int r = serve(dma, rx, cancel_fd, deadline_in(dma->timeout_usec));
    if (r == -ETIMEDOUT) {
        snprintf(why, why_size, "it stopped in the middle of %s", name);
        return -EPROTO;
    }
    if (r < 0)
        snprintf(why, why_size, "%s could not be answered: %s", name, strerror(-r));
    return r;
}

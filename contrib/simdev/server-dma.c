/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "server.h"
#include <string.h>

#define BITMAP_MAX_BYTES (1ull << 28)

int handle_dma_map(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_dma_map request;
    memcpy(&request, m->payload, sizeof request);
    if (m->n_fds > 1 || request.argsz < sizeof request)
        return -EINVAL;
    struct dma_map *map;
    engine_park(&d->engine);
    int result = dma_add(&d->dma, &request, m->n_fds ? m->fds[0] : -1, &map);
    if (result == 0) {
        result = dirty_prepare(&d->log, map);
        if (result == 0 && map->writable)
            result = journal_cover(&d->journal, map->iova, map->size, map->offset_bytes - map->iova);
        if (result < 0)
            dma_remove(&d->dma, map);
        d->engine.area_changed = true;
    }
    engine_release(&d->engine);
    log_debug("map 0x%llx + 0x%llx: %s", (unsigned long long)request.address,
              (unsigned long long)request.size, result < 0 ? strerror(-result) : "done");
    return result;
}

static int unmap_all(struct device *d, const struct vfu_dma_unmap *request)
{
    if (request->address || request->size)
        return -EINVAL;
    dma_clear(&d->dma);
    return 0;
}

static int unmap_one(struct device *d, struct message *m, struct reply *r,
                     const struct vfu_dma_unmap *request)
{
    struct dma_map *map = dma_find_exact(&d->dma, request->address, request->size);
    if (!map)
        return -ENOENT;
    if (request->flags & VFU_DMA_UNMAP_BITMAP) {
        struct vfu_bitmap_desc desc;
        memcpy(&desc, m->payload + sizeof *request, sizeof desc);
        int result = dirty_check(&d->log, &d->dma, map->iova, map->size, desc.page_size);
        if (result < 0)
            return result;
        if (desc.size != vfu_bitmap_bytes(map->size, desc.page_size) || desc.size > BITMAP_MAX_BYTES ||
            request->argsz < sizeof *request + sizeof desc + desc.size)
            return -EINVAL;
        uint8_t *payload = reply_make(r, sizeof *request + sizeof desc + desc.size);
        if (!payload)
            return -ENOMEM;
        memcpy(payload + sizeof *request, &desc, sizeof desc);
        uint64_t *bitmap = (uint64_t *)(payload + sizeof *request + sizeof desc);
        result = dirty_report(&d->log, &d->dma, map->iova, map->size, desc.page_size, bitmap);
        if (result == 0 && map->late) /* there is no later report for these */
            result = dirty_report(&d->log, &d->dma, map->iova, map->size, desc.page_size, bitmap);
        if (result < 0)
            return result;
    }
    dma_remove(&d->dma, map);
    return 0;
}

int handle_dma_unmap(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_dma_unmap request;
    memcpy(&request, m->payload, sizeof request);
    bool all = request.flags == VFU_DMA_UNMAP_ALL, bitmap = request.flags == VFU_DMA_UNMAP_BITMAP;
    if ((request.flags && !all && !bitmap) || request.argsz < sizeof request ||
        (bitmap && m->payload_bytes < sizeof request + sizeof(struct vfu_bitmap_desc)))
        return -EINVAL;
    /* The engine has let go of the memory before anything is answered. */
    engine_park(&d->engine);
    int result = all ? unmap_all(d, &request) : unmap_one(d, m, r, &request);
    if (result == 0)
        d->engine.area_changed = true;
    engine_release(&d->engine);
    log_debug("unmap 0x%llx + 0x%llx: %s", (unsigned long long)request.address,
              (unsigned long long)request.size, result < 0 ? strerror(-result) : "done");
    if (result < 0)
        return result;
    if (!r->payload && !reply_make(r, sizeof request))
        return -ENOMEM;
    memcpy(r->payload, &request, sizeof request);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DMA mappings of a vfio-user device: the device's IOVA map and the server's table are changed together,
 * under map_lock.
 */
#include "vfio-user/device-private.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int send_map(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, uint32_t prot, int fd,
                    uint64_t offset, bool *ret_refused, struct mig_error *err)
{
    struct vfu_dma_map request = {
        .argsz = sizeof request,
        .flags = (prot & IOVA_READ ? VFU_DMA_MAP_READ : 0) | (prot & IOVA_WRITE ? VFU_DMA_MAP_WRITE : 0),
        .offset = offset,
        .address = iova,
        .size = size_bytes,
    };
    uint8_t unused[sizeof request];
    char what[80];
    snprintf(what, sizeof what, "DMA_MAP of 0x%" PRIx64 " (%" PRIu64 " bytes)", iova, size_bytes);
    struct vfu_call call = {
        .command = VFU_DMA_MAP,
        .what = what,
        .send = {{&request, sizeof request}},
        .nsend = 1,
        .fds = &fd,
        .nfds = fd >= 0 ? 1 : 0,
        .reply = unused,
        .reply_max = sizeof unused,
    };
    int r = vfu_conn_call(vd->conn, &call, err);
    *ret_refused = r < 0 && call.refused;
    return r;
}

static int send_mapping(struct vfu_device *vd, const struct iova_mapping *m, bool *ret_refused,
                        struct mig_error *err)
{
    bool with_fd = vfu_conn_caps(vd->conn)->max_msg_fds > 0;
    return send_map(vd, m->iova, m->size_bytes, m->prot, with_fd ? m->region->fd : -1,
                    with_fd ? m->region->offset_bytes + m->offset_bytes : 0, ret_refused, err);
}

int vfu_send_late_maps(struct vfu_device *vd, struct mig_error *err)
{
    struct iova_mapping *late = NULL;
    size_t n = 0;
    bool refused;
    pthread_mutex_lock(&vd->map_lock);
    int r = iova_map_snapshot(vd->unsent, &late, &n);
    if (r < 0)
        mig_error_oom(err);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = send_mapping(vd, &late[i], &refused, err);
        if (r == 0)
            iova_map_remove(vd->unsent, late[i].iova, late[i].size_bytes, NULL);
    }
    pthread_mutex_unlock(&vd->map_lock);
    iova_mappings_free(late, n);
    return r;
}

/* map_lock held. True when the device stands still, and the mapping waits for its next step. */
static bool wait_for_state(struct vfu_device *vd, const struct iova_mapping *m)
{
    return !vfu_state_is_configurable(vfu_known_state(vd)) && iova_map_add(vd->unsent, m, NULL) == 0;
}

int vfu_dma_map(struct device *d, const struct iova_mapping *m, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    if ((m->prot & IOVA_WRITE) && !m->region->writable)
        return mig_error_set(err, MIG_ERR_NOT_ALLOWED, 0,
                             "device %s cannot write to region %s, which migd has read-only", d->name,
                             m->region->name);
    bool refused = false;
    struct mig_error e = MIG_ERROR_INIT;
    pthread_mutex_lock(&vd->map_lock);
    /* First here, so that a DMA message that follows the mapping at once finds it. */
    int r = iova_map_add(d->map, m, &e);
    if (r == 0) {
        r = send_mapping(vd, m, &refused, &e);
        if (r < 0 && refused && wait_for_state(vd, m))
            r = 0;
        if (r < 0)
            iova_map_remove(d->map, m->iova, m->size_bytes, NULL);
    }
    if (r < 0 && err)
        *err = e;
    pthread_mutex_unlock(&vd->map_lock);
    return r;
}

static int send_unmap(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, int *ret_refused,
                      struct mig_error *err)
{
    struct vfu_dma_unmap request = {.argsz = sizeof request, .address = iova, .size = size_bytes}, unused;
    char what[80];
    snprintf(what, sizeof what, "DMA_UNMAP of 0x%" PRIx64 " (%" PRIu64 " bytes)", iova, size_bytes);
    struct vfu_call call = {
        .command = VFU_DMA_UNMAP,
        .what = what,
        .send = {{&request, sizeof request}},
        .nsend = 1,
        .reply = &unused,
        .reply_max = sizeof unused,
    };
    int r = vfu_conn_call(vd->conn, &call, err);
    *ret_refused = call.refused;
    return r;
}

struct last_bits {
    struct {
        struct vfu_dma_unmap unmap;
        struct vfu_bitmap_desc desc;
    } head;
    struct vfu_device *vd;
    uint64_t iova, size_bytes, bitmap_bytes;
    bool wrong;
};

static int take_last_bits(void *userdata, uint64_t offset, const void *data, size_t size)
{
    struct last_bits *b = userdata;
    uint64_t page = b->vd->log_page_bytes;
    if (b->head.unmap.address != b->iova || b->head.unmap.size != b->size_bytes ||
        b->head.desc.size != b->bitmap_bytes || b->head.desc.page_size != page) {
        b->wrong = true;
        return -EPROTO;
    }
    uint64_t skip = offset * 8 * page;
    if (skip < b->size_bytes)
        iova_map_mark_bitmap(b->vd->device.map, b->iova + skip, page, data,
                             MIN((uint64_t)size * 8, div_round_up(b->size_bytes - skip, page)));
    return 0;
}

/* Unmap and last bits in one step (R6). */
static int unmap_with_bitmap(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, int *ret_refused,
                             struct mig_error *err)
{
    struct last_bits b = {.vd = vd, .iova = iova, .size_bytes = size_bytes};
    b.bitmap_bytes = vfu_bitmap_bytes(size_bytes, vd->log_page_bytes);
    if (b.bitmap_bytes > UINT32_MAX - 2 * sizeof b.head - sizeof(struct vfu_header)) {
        *ret_refused = E2BIG; /* too much for one message: the caller has another way */
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "the bitmap of the mapping does not fit one message");
    }
    struct {
        struct vfu_dma_unmap unmap;
        struct vfu_bitmap_desc desc;
    } request = {
        .unmap = {.argsz = (uint32_t)(sizeof request + b.bitmap_bytes),
                  .flags = VFU_DMA_UNMAP_BITMAP,
                  .address = iova,
                  .size = size_bytes},
        .desc = {.page_size = vd->log_page_bytes, .size = b.bitmap_bytes},
    };
    char what[96];
    snprintf(what, sizeof what, "DMA_UNMAP with bitmap of 0x%" PRIx64 " (%" PRIu64 " bytes)", iova,
             size_bytes);
    struct vfu_call call = {
        .command = VFU_DMA_UNMAP,
        .what = what,
        .send = {{&request, sizeof request}},
        .nsend = 1,
        .reply = &b.head,
        .reply_min = (uint32_t)(sizeof b.head + b.bitmap_bytes),
        .reply_max = sizeof b.head,
        .data_max = b.bitmap_bytes,
        .sink = take_last_bits,
        .userdata = &b,
    };
    int r = vfu_conn_call(vd->conn, &call, err);
    *ret_refused = call.refused;
    return r;
}

static void mark_piece(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                       const uint64_t *words, uint64_t nbits)
{
    iova_map_mark_bitmap(userdata, m->iova, page_bytes, words, nbits);
}

/* While the log is on. What the device wrote is in the marks when this succeeds. */
static int unmap_tracked(struct vfu_device *vd, const struct iova_mapping *m, int *ret_refused,
                         struct mig_error *err)
{
    struct iova_map *map = vd->device.map;
    struct mig_error e = MIG_ERROR_INIT;
    int r = unmap_with_bitmap(vd, m->iova, m->size_bytes, ret_refused, &e);
    if (r == 0 || *ret_refused == ENOENT)
        return r;
    if (*ret_refused) {
        /* No bitmap with unmaps here: the next best is the log read right before. */
        if (vfu_log_report_mapping(vd, m, mark_piece, map, &e) < 0)
            iova_map_mark(map, m->iova, m->size_bytes);
    } else if (e.code == MIG_ERR_DEVICE_PROTOCOL || e.code == MIG_ERR_NO_MEMORY) {
        /* It answered with a bitmap that cannot be used; whether it unmapped shows in the answer to a plain
         * unmap. */
        log_warning("%s; all of its %" PRIu64 " bytes are sent again", e.message, m->size_bytes);
        iova_map_mark(map, m->iova, m->size_bytes);
    } else {
        if (err)
            *err = e;
        return r;
    }
    return send_unmap(vd, m->iova, m->size_bytes, ret_refused, err);
}

static int unmap_locked(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, struct mig_error *err)
{
    struct iova_map *map = vd->device.map;
    struct iova_mapping m;
    int refused = 0, r;
    if (iova_map_lookup(map, iova, &m) < 0)
        return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0, "device %s has nothing mapped at 0x%" PRIx64,
                             vd->device.name, iova);
    if (m.iova != iova || m.size_bytes != size_bytes) {
        r = mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0,
                          "device %s has 0x%" PRIx64 " (%" PRIu64
                          " bytes) mapped there; a mapping can only leave as a whole",
                          vd->device.name, m.iova, m.size_bytes);
        region_unref(m.region);
        return r;
    }
    if (iova_map_remove(vd->unsent, iova, size_bytes, NULL) == 0)
        r = 0; /* the device has never heard of it */
    else if (vd->log_on && vfu_conn_caps(vd->conn)->max_msg_fds > 0)
        r = unmap_tracked(vd, &m, &refused, err);
    else
        r = send_unmap(vd, iova, size_bytes, &refused, err);
    if (r < 0 && refused == ENOENT) {
        log_warning("%s did not know its mapping of 0x%" PRIx64, vfu_conn_label(vd->conn), iova);
        if (vd->log_on) /* so nobody can say what it wrote there */
            iova_map_mark(map, iova, size_bytes);
        mig_error_clear(err);
        r = 0;
    }
    if (r == 0)
        r = iova_map_remove(map, iova, size_bytes, err);
    region_unref(m.region);
    return r;
}

int vfu_dma_unmap(struct device *d, uint64_t iova, uint64_t size_bytes, struct mig_error *err)
{
    struct vfu_device *vd = vfu_of(d);
    pthread_mutex_lock(&vd->map_lock);
    int r = unmap_locked(vd, iova, size_bytes, err);
    pthread_mutex_unlock(&vd->map_lock);
    return r;
}

int vfu_dma_map_foreign(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, uint32_t prot,
                        struct mig_error *err)
{
    pthread_mutex_lock(&vd->map_lock);
    bool refused;
    int r = send_map(vd, iova, size_bytes, prot, -1, 0, &refused, err);
    pthread_mutex_unlock(&vd->map_lock);
    return r;
}

int vfu_dma_unmap_foreign(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, struct mig_error *err)
{
    int refused = 0;
    pthread_mutex_lock(&vd->map_lock);
    int r = send_unmap(vd, iova, size_bytes, &refused, err);
    pthread_mutex_unlock(&vd->map_lock);
    return r;
}

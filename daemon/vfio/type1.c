/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The type1 container: /dev/vfio/vfio with VFIO_TYPE1v2_IOMMU. Facts: linux/vfio.h "Additional API for
 * Type1", and what kernels 6.12 and 7.2 answer.
 *
 * A GET may not cut a mapping of the kernel, takes the smallest page size only, and overwrites whole words;
 * so it is one GET per mapping that migd was told of. The hardware's dirty bits are never read by type1:
 * unless every group in the container belongs to a driver that says what it writes (mediated devices),
 * everything is dirty at every read, which the tracker above notices.
 */
#include "vfio/container.h"
#include "vfio/iommufd.h"
#include "vfio/vfio-uapi.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INFO_BYTES_MAX 65536u

struct type1 {
    struct container base;
    uint64_t page_bytes;       /* smallest of the IOMMU */
    uint64_t max_bitmap_bytes; /* of one GET */
};

static struct type1 *from_base(struct container *c)
{
    return CONTAINER_OF(c, struct type1, base);
}

static int fail(struct container *c, const char *what, int r, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_TRACKER, -r, "container %s: %s: %s", c->name, what, strerror(-r));
}

static int track(struct container *c, bool on, struct mig_error *err)
{
    struct kvfio_dirty arg = {.argsz = sizeof arg, .flags = on ? KVFIO_DIRTY_START : KVFIO_DIRTY_STOP};
    int r = kernel_ioctl(c->calls, c->fd, KVFIO_IOMMU_DIRTY, &arg);
    return r < 0 ? fail(c, on ? "turning dirty tracking on" : "turning dirty tracking off", r, err) : 0;
}

static int prepare_bitmap(struct container *c, const struct iova_mapping *m, struct kvfio_bitmap *ret,
                          struct mig_error *err)
{
    struct type1 *t = from_base(c);
    uint64_t nbits = div_round_up(m->size_bytes, t->page_bytes), bytes = kernel_bitmap_bytes(nbits);
    if (bytes > t->max_bitmap_bytes) {
        int r = mig_error_set(err, MIG_ERR_LIMIT, 0,
                              "container %s: the mapping at IOVA 0x%" PRIx64 " of %" PRIu64
                              " bytes is larger than the kernel can report on (%" PRIu64 " bytes)",
                              c->name, m->iova, m->size_bytes, t->max_bitmap_bytes * 8 * t->page_bytes);
        mig_error_hint(err, "map the memory in smaller pieces");
        return r;
    }
    if (kernel_bitmap_prepare(&c->bits, nbits) < 0)
        return mig_error_oom(err);
    *ret = (struct kvfio_bitmap){.pgsize = t->page_bytes, .size = bytes, .data = (uintptr_t)c->bits.words};
    return 0;
}

static int read_mapping(struct container *c, const struct iova_mapping *m, bool keep, container_report_cb cb,
                        void *userdata, struct mig_error *err)
{
    struct type1 *t = from_base(c);
    struct kvfio_dirty_get get = {
        .dirty = {.argsz = sizeof get, .flags = KVFIO_DIRTY_GET}, .iova = m->iova, .size = m->size_bytes};
    int r = prepare_bitmap(c, m, &get.bitmap, err);
    if (r < 0)
        return r;
    r = kernel_ioctl(c->calls, c->fd, KVFIO_IOMMU_DIRTY, &get);
    if (r < 0) {
        r = mig_error_set(err, MIG_ERR_TRACKER, -r,
                          "container %s: reading which pages of IOVA 0x%" PRIx64 " (%" PRIu64
                          " bytes, memory %s) were written: %s",
                          c->name, m->iova, m->size_bytes, m->region->name, strerror(-r));
        if (r == -EINVAL)
            mig_error_hint(err, "the kernel refuses a range that cuts one of its mappings, and a container "
                                "whose tracking somebody "
                                "else turned off: tell migd the mappings as they were made");
        return r;
    }
    cb(userdata, m, t->page_bytes, c->bits.words, div_round_up(m->size_bytes, t->page_bytes));
    return 0;
}

static int unmap(struct container *c, const struct iova_mapping *m, container_report_cb cb, void *userdata,
                 struct mig_error *err)
{
    struct type1 *t = from_base(c);
    struct kvfio_dma_unmap_bitmap arg = {
        .unmap = {.argsz = sizeof arg.unmap, .iova = m->iova, .size = m->size_bytes}};
    if (c->tracking) {
        int r = prepare_bitmap(c, m, &arg.bitmap, err);
        if (r < 0)
            return r;
        arg.unmap.argsz = sizeof arg;
        arg.unmap.flags = KVFIO_UNMAP_GET_BITMAP;
    }
    int r = kernel_ioctl(c->calls, c->fd, KVFIO_IOMMU_UNMAP_DMA, &arg);
    if (r < 0)
        return fail(c, "unmapping", r, err);
    /* Somebody else was faster, and has the bits. */
    if (c->tracking && arg.unmap.size < m->size_bytes)
        return mig_error_set(err, MIG_ERR_TRACKER, ENODATA,
                             "container %s: of the mapping at IOVA 0x%" PRIx64 " the kernel had only %" PRIu64
                             " of %" PRIu64 " bytes left",
                             c->name, m->iova, (uint64_t)arg.unmap.size, m->size_bytes);
    if (c->tracking)
        cb(userdata, m, t->page_bytes, c->bits.words, div_round_up(m->size_bytes, t->page_bytes));
    return 0;
}

static int map(struct container *c, const struct iova_mapping *m)
{
    struct kvfio_dma_map arg = {.argsz = sizeof arg,
                                .flags = (m->prot & IOVA_READ ? KVFIO_MAP_READ : 0) |
                                         (m->prot & IOVA_WRITE ? KVFIO_MAP_WRITE : 0),
                                .vaddr = (uintptr_t)(m->region->map + m->offset_bytes),
                                .iova = m->iova,
                                .size = m->size_bytes};
    return kernel_ioctl(c->calls, c->fd, KVFIO_IOMMU_MAP_DMA, &arg);
}

static bool overlaps(const struct container *c, const struct container *other)
{
    return true; /* tracking is the container's */
}

static void destroy(struct container *c)
{
    container_clear(c);
    free(from_base(c));
}

static const struct container_ops ops = {
    .kind = "type1",
    .track = track,
    .on_twice_keeps_bits = true,
    .overlaps = overlaps,
    .read = read_mapping,
    .map = map,
    .unmap = unmap,
    .destroy = destroy,
};

/* The migration capability in the chain that follows the info; offsets come from the kernel and are checked
 * all the same. */
static bool find_migration(const uint8_t *info, uint32_t size, struct kvfio_cap_migration *ret)
{
    struct kvfio_iommu_info head;
    memcpy(&head, info, sizeof head);
    uint32_t at = head.flags & KVFIO_INFO_CAPS ? head.cap_offset : 0;
    for (unsigned hops = 0; at >= sizeof head && hops < 64; hops++) {
        struct kvfio_cap_header h;
        if (!range_inside(at, sizeof h, size))
            return false;
        memcpy(&h, info + at, sizeof h);
        if (h.id == KVFIO_CAP_MIGRATION && range_inside(at, sizeof *ret, size)) {
            memcpy(ret, info + at, sizeof *ret);
            return true;
        }
        at = h.next;
    }
    return false;
}

/* -EOPNOTSUPP: it answers, but has no migration capability. */
static int ask_info(struct container *c, struct kvfio_cap_migration *ret)
{
    struct kvfio_iommu_info head = {.argsz = sizeof head};
    int r = kernel_ioctl(c->calls, c->fd, KVFIO_IOMMU_GET_INFO, &head);
    if (r < 0)
        return r;
    uint32_t size = MIN(MAX(head.argsz, (uint32_t)sizeof head), INFO_BYTES_MAX);
    _cleanup_free_ uint8_t *info = calloc(1, size);
    if (!info)
        return -ENOMEM;
    memcpy(info, &size, sizeof size);
    r = kernel_ioctl(c->calls, c->fd, KVFIO_IOMMU_GET_INFO, info);
    if (r < 0)
        return r;
    return find_migration(info, size, ret) ? 0 : -EOPNOTSUPP;
}

static int learn(struct type1 *t, struct mig_error *err)
{
    struct container *c = &t->base;
    struct kvfio_cap_migration cap = {0};
    int r = kernel_ioctl(c->calls, c->fd, KVFIO_GET_API_VERSION, NULL);
    if (r != KVFIO_API_VERSION)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "container %s: its descriptor is no VFIO container", c->name);
    r = ask_info(c, &cap);
    if (r == -EOPNOTSUPP) {
        r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "container %s cannot say which pages were written",
                          c->name);
        mig_error_hint(
            err,
            "its kernel is older than 5.8, or it is no type1 v2 container: track by device, or as \"all\"");
        return r;
    }
    if (r < 0) {
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, -r, "container %s does not tell what it is: %s",
                          c->name, strerror(-r));
        if (r == -EINVAL)
            mig_error_hint(err, "hand it over after its first group was added and VFIO_SET_IOMMU was done");
        return r;
    }
    t->page_bytes = cap.pgsize_bitmap & -cap.pgsize_bitmap;
    t->max_bitmap_bytes = cap.max_dirty_bitmap_size;
    if (t->page_bytes < REGION_PAGE_SIZE || t->max_bitmap_bytes < 8)
        return mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                             "container %s reports in pages of %" PRIu64
                             " bytes and bitmaps of up to %" PRIu64 " bytes, which migd cannot use",
                             c->name, t->page_bytes, t->max_bitmap_bytes);
    return 0;
}

int container_new_type1(struct container **ret, const char *name, int fd, const struct kernel_calls *calls,
                        struct mig_error *err)
{
    if (iommufd_is(fd, calls))
        return container_refuse_compatible(name, err);
    struct type1 *t = calloc(1, sizeof *t);
    if (!t)
        return mig_error_oom(err);
    int r = container_init(&t->base, &ops, name, fd, calls, err);
    if (r == 0)
        r = learn(t, err);
    if (r < 0) {
        destroy(&t->base);
        return r;
    }
    *ret = &t->base;
    return 0;
}

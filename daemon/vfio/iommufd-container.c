/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An iommufd whose HWPTs have dirty tracking: the IOMMU's own dirty bits. Facts: linux/iommufd.h and what
 * kernels 6.12 and 7.2 answer.
 *
 * Several HWPTs may lie on one IOAS, each with the bits of the devices attached to it; they are OR-ed by
 * reading one after the other into the same zeroed buffer. The kernel answers a GET with success and no bits
 * when tracking is off, and clears what it has when tracking is turned on again, so nothing but migd's own
 * word says that it is on. Nothing tells either when somebody else who has the iommufd turns it off, reads
 * the bits away, or attaches a device to another HWPT: enabling answers 0 in every case, and clears first.
 * What migd can do is not to be that somebody (container.c), and to compare memory (--verify).
 */
#include "vfio/container.h"
#include "vfio/iommufd.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PIECE_BITS ((uint64_t)2 << 23) /* 2 MiB of bitmap, 64 GiB of memory */

struct iommufd_container {
    struct container base;
    uint32_t hwpts[CONTAINER_HWPTS_MAX];
    size_t nhwpts;
};

static struct iommufd_container *from_base(struct container *c)
{
    return CONTAINER_OF(c, struct iommufd_container, base);
}

static int track_one(struct container *c, uint32_t hwpt, bool on, struct mig_error *err)
{
    int r = iommufd_set_tracking(c->fd, c->calls, hwpt, on);
    if (r >= 0)
        return 0;
    int given =
        mig_error_set(err, MIG_ERR_TRACKER, -r, "container %s: turning dirty tracking of HWPT %u %s: %s",
                      c->name, hwpt, on ? "on" : "off", strerror(-r));
    if (r == -EOPNOTSUPP)
        mig_error_hint(err, "its owner made the HWPT without dirty tracking, or let the kernel make one by "
                            "attaching to an IOAS: "
                            "attach the device to an HWPT allocated with DIRTY_TRACKING");
    else if (r == -ENOENT)
        mig_error_hint(err, "there is no such HWPT in this iommufd");
    return given;
}

static int track(struct container *c, bool on, struct mig_error *err)
{
    struct iommufd_container *f = from_base(c);
    int r = 0;
    for (size_t i = 0; i < f->nhwpts; i++) {
        int one = track_one(c, f->hwpts[i], on, r == 0 ? err : NULL);
        r = r < 0 ? r : one;
        if (one < 0 && on) {
            while (i-- > 0)
                track_one(c, f->hwpts[i], false, NULL);
            break;
        }
    }
    return r;
}

static int read_mapping(struct container *c, const struct iova_mapping *m, bool keep, container_report_cb cb,
                        void *userdata, struct mig_error *err)
{
    struct iommufd_container *f = from_base(c);
    struct iova_mapping piece = *m;
    for (uint64_t done = 0; done < m->size_bytes; done += piece.size_bytes) {
        piece.iova = m->iova + done;
        piece.offset_bytes = m->offset_bytes + done;
        piece.size_bytes = MIN(m->size_bytes - done, PIECE_BITS * REGION_PAGE_SIZE);
        uint64_t nbits = piece.size_bytes / REGION_PAGE_SIZE;
        if (kernel_bitmap_prepare(&c->bits, nbits) < 0)
            return mig_error_oom(err);
        for (size_t i = 0; i < f->nhwpts; i++) {
            int r = iommufd_get_dirty(c->fd, c->calls, f->hwpts[i], piece.iova, piece.size_bytes,
                                      REGION_PAGE_SIZE, keep, c->bits.words);
            if (r < 0)
                return mig_error_set(err, MIG_ERR_TRACKER, -r,
                                     "container %s: reading which pages of IOVA 0x%" PRIx64 " (%" PRIu64
                                     " bytes, memory %s) were written from HWPT %u: %s",
                                     c->name, piece.iova, piece.size_bytes, m->region->name, f->hwpts[i],
                                     strerror(-r));
        }
        cb(userdata, &piece, REGION_PAGE_SIZE, c->bits.words, nbits);
    }
    return 0;
}

static int map(struct container *c, const struct iova_mapping *m)
{
    return iommufd_map_piece(c->fd, c->calls, c->ioas, m);
}

/* First the bits, without clearing: an unmap must not wait for the IOTLB twice. Then the mapping. What a
 * device still writes between the two goes into memory that its owner has given up. */
static int unmap(struct container *c, const struct iova_mapping *m, container_report_cb cb, void *userdata,
                 struct mig_error *err)
{
    if (!c->ioas)
        return -EOPNOTSUPP;
    int r = c->tracking ? read_mapping(c, m, true, cb, userdata, err) : 0;
    if (r < 0)
        return r;
    r = iommufd_unmap(c->fd, c->calls, c->ioas, m->iova, m->size_bytes);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r,
                             "container %s: unmapping IOVA 0x%" PRIx64 " from IOAS %u: %s", c->name, m->iova,
                             c->ioas, strerror(-r));
    return 0;
}

bool container_maps_small(const struct container *c)
{
    bool huge = true;
    return c->ioas && iommufd_has_huge_pages(c->fd, c->calls, c->ioas, &huge) == 0 && !huge;
}

static bool overlaps(const struct container *c, const struct container *other)
{
    const struct iommufd_container *f = CONTAINER_OF(c, const struct iommufd_container, base),
                                   *o = CONTAINER_OF(other, const struct iommufd_container, base);
    for (size_t i = 0; i < f->nhwpts; i++)
        for (size_t k = 0; k < o->nhwpts; k++)
            if (f->hwpts[i] == o->hwpts[k])
                return true;
    return false;
}

static void destroy(struct container *c)
{
    container_clear(c);
    free(from_base(c));
}

static const struct container_ops ops = {
    .kind = "iommufd",
    .track = track,
    .overlaps = overlaps,
    .read = read_mapping,
    .map = map,
    .unmap = unmap,
    .destroy = destroy,
};

bool container_tells(const struct container *c)
{
    return c->ops != &ops || ((const struct iommufd_container *)(const void *)c)->nhwpts > 0;
}

int container_add_hwpt(struct container *c, uint32_t hwpt, struct mig_error *err)
{
    struct iommufd_container *f = from_base(c);
    int r = 0;
    if (c->ops != &ops)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "container %s is no iommufd", c->name);
    pthread_mutex_lock(&c->lock);
    bool known = false;
    for (size_t i = 0; i < f->nhwpts; i++)
        known |= f->hwpts[i] == hwpt;
    if (!known && f->nhwpts >= CONTAINER_HWPTS_MAX)
        r = mig_error_set(err, MIG_ERR_LIMIT, 0, "container %s has %u HWPTs already, which is the limit",
                          c->name, CONTAINER_HWPTS_MAX);
    if (r == 0 && !known && c->tracking)
        r = track_one(c, hwpt, true, err);
    if (r == 0 && !known) {
        pthread_mutex_lock(&container_tracking_lock); /* others compare with it */
        f->hwpts[f->nhwpts++] = hwpt;
        pthread_mutex_unlock(&container_tracking_lock);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

static int find_hwpts(struct iommufd_container *f, struct mig_error *err)
{
    struct container *c = &f->base;
    size_t others;
    int r = iommufd_find_hwpts(c->fd, c->calls, f->hwpts, CONTAINER_HWPTS_MAX, &others);
    if (r == -ENOTTY) {
        r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                          "container %s: this kernel's iommufd has no dirty tracking", c->name);
        mig_error_hint(err, "it came with Linux 6.7: track by device, or as \"all\"");
        return r;
    }
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "container %s: looking for HWPTs: %s", c->name,
                             strerror(-r));
    if (r == 0 && iommufd_container_ioas(c->fd, c->calls))
        return container_refuse_compatible(c->name, err);
    if (r == 0) {
        r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                          "container %s: its iommufd has no HWPT that can track writes", c->name);
        mig_error_hint(err, "attach the device to an HWPT allocated with DIRTY_TRACKING, where the IOMMU can "
                            "do that, before handing "
                            "the iommufd over");
        return r;
    }
    if ((unsigned)r > CONTAINER_HWPTS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0,
                             "container %s: %d HWPTs answer: name those that count, at most %u", c->name, r,
                             CONTAINER_HWPTS_MAX);
    f->nhwpts = (size_t)r;
    c->partial = others > 0;
    return 0;
}

static int new_iommufd(struct iommufd_container **ret, const char *name, int fd, uint32_t ioas,
                       const struct kernel_calls *calls, struct mig_error *err)
{
    struct iommufd_container *f = calloc(1, sizeof *f);
    if (!f)
        return mig_error_oom(err);
    int r = container_init(&f->base, &ops, name, fd, calls, err);
    f->base.ioas = ioas;
    if (r < 0) {
        destroy(&f->base);
        return r;
    }
    *ret = f;
    return 0;
}

int container_new_own_iommufd(struct container **ret, const char *name, int fd, uint32_t ioas,
                              const struct kernel_calls *calls, struct mig_error *err)
{
    struct iommufd_container *f = NULL;
    int r = new_iommufd(&f, name, fd, ioas, calls, err);
    if (r == 0)
        *ret = &f->base;
    return r;
}

int container_new_iommufd(struct container **ret, const char *name, int fd, const uint32_t *hwpts,
                          size_t nhwpts, uint32_t ioas, const struct kernel_calls *calls,
                          struct mig_error *err)
{
    if (!iommufd_is(fd, calls))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "container %s: its descriptor is no iommufd",
                             name);
    if (nhwpts > CONTAINER_HWPTS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "container %s: %zu HWPTs, the limit is %u", name, nhwpts,
                             CONTAINER_HWPTS_MAX);
    struct iommufd_container *f = NULL;
    int r = new_iommufd(&f, name, fd, ioas, calls, err);
    if (r < 0)
        return r;
    f->nhwpts = nhwpts;
    if (nhwpts)
        memcpy(f->hwpts, hwpts, nhwpts * sizeof *hwpts);
    r = nhwpts == 0 ? find_hwpts(f, err) : 0;
    if (r < 0) {
        destroy(&f->base);
        return r;
    }
    *ret = &f->base;
    return 0;
}

size_t container_hwpts(const struct container *c, const uint32_t **ret)
{
    if (c->ops != &ops)
        return 0;
    const struct iommufd_container *f = CONTAINER_OF(c, const struct iommufd_container, base);
    *ret = f->hwpts;
    return f->nhwpts;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/populate.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#define FILL_MIN_BYTES   (64u << 10)
#define FILL_CHUNK_SHIFT 21u

int populate_init(struct populate *p, size_t nregions)
{
    p->nregions = nregions;
    p->filled = calloc(MAX(nregions, (size_t)1), sizeof(struct bitmap *));
    p->present = calloc(MAX(nregions, (size_t)1), sizeof(struct bitmap *));
    return p->filled && p->present ? 0 : -ENOMEM;
}

void populate_destroy(struct populate *p)
{
    for (size_t i = 0; p->filled && p->present && i < p->nregions; i++) {
        bitmap_free(p->filled[i]);
        bitmap_free(p->present[i]);
    }
    free(p->filled);
    free(p->present);
}

/*
 * Fresh memory is allocated page by page in the middle of the copy out of the socket, and each of those
 * faults costs more than the copy. One call ahead of it takes a third less for fresh memory, and two thirds
 * for memory that is only not mapped here. Where it fails the faults do the work, or say why not.
 */
void populate_ahead(struct populate *p, size_t region, struct region *r, uint64_t offset_bytes,
                    uint64_t length_bytes)
{
    if (length_bytes < FILL_MIN_BYTES)
        return;
    if (!p->filled[region] &&
        bitmap_new(&p->filled[region], div_round_up(r->size_bytes, 1u << FILL_CHUNK_SHIFT)) < 0)
        return;
    struct bitmap *filled = p->filled[region];
    uint64_t end = offset_bytes + length_bytes, first = offset_bytes >> FILL_CHUNK_SHIFT,
             last = (end - 1) >> FILL_CHUNK_SHIFT;
    bool all = true;
    for (uint64_t chunk = first; chunk <= last && all; chunk++)
        all = bitmap_test(filled, chunk);
    if (all)
        return;
    (void)madvise(r->map + offset_bytes, length_bytes, MADV_POPULATE_WRITE);
    first = div_round_up(offset_bytes, 1u << FILL_CHUNK_SHIFT);
    last = end >> FILL_CHUNK_SHIFT;
    if (first < last)
        bitmap_set_range(filled, first, last - first);
}

int populate_no_memory(const struct region *r, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_NO_MEMORY, ENOMEM,
                  "memory region %s: this host has no memory for what arrives", r->name);
    mig_error_hint(err, "free memory, or huge pages where the region is on huge pages, or raise the size "
                        "of its file system");
    return -ENOMEM;
}

/* On a kernel that cannot populate, memory that is allocated in the file is as good. */
static int make_present(const struct region *r, uint64_t offset_bytes, uint64_t length_bytes)
{
    int n;
    do
        n = madvise(r->map + offset_bytes, length_bytes, MADV_POPULATE_WRITE);
    while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0 && errno == EINVAL) {
        do
            n = fallocate(r->fd, FALLOC_FL_KEEP_SIZE, (off_t)(r->offset_bytes + offset_bytes),
                          (off_t)length_bytes);
        while (n < 0 && errno == EINTR);
        if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENODEV))
            return 0; /* nothing more can be done ahead of the write */
    }
    return n < 0 ? -errno : 0;
}

int populate_surely(struct populate *p, size_t region, struct region *r, uint64_t offset_bytes,
                    uint64_t length_bytes, struct mig_error *err)
{
    if (!p->present[region] && bitmap_new(&p->present[region], r->npages) < 0)
        return mig_error_oom(err);
    struct bitmap *present = p->present[region];
    uint64_t first = offset_bytes >> REGION_PAGE_SHIFT,
             end = (offset_bytes + length_bytes) >> REGION_PAGE_SHIFT;
    while (first < end && bitmap_test(present, first))
        first++;
    while (first < end && bitmap_test(present, end - 1))
        end--;
    if (first == end)
        return 0;
    int rc = make_present(r, first << REGION_PAGE_SHIFT, (end - first) << REGION_PAGE_SHIFT);
    if (rc == -EFAULT || rc == -ENOMEM || rc == -ENOSPC) /* EFAULT: where a write would be SIGBUS */
        return populate_no_memory(r, err);
    if (rc < 0) {
        mig_error_set(err, MIG_ERR_FAILED, -rc, "memory region %s: it cannot be written at %#llx: %s",
                      r->name, (unsigned long long)(first << REGION_PAGE_SHIFT), strerror(-rc));
        mig_error_hint(err, "look at the kernel's log of this host, it may have found bad memory");
        return rc;
    }
    bitmap_set_range(present, first, end - first);
    return 0;
}

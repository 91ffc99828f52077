/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A region: a piece of guest memory, a range of a memfd or file that migd has mapped, and the bitmap of what
 * must be sent.
 *
 * Reference counted; the IOVA maps, trackers and the domain hold references. The mapping, fd and sizes never
 * change after creation. `dirty` belongs to whoever runs the rounds (one worker at a time). `marks` is where
 * everybody else puts pages that were written (DMA_WRITE messages that migd served, last bits of an unmap):
 * any thread, atomically; the next harvest moves them into `dirty`. That makes two bitmaps per region, the
 * budget of rule R7.
 *
 * migd reads its pages in 4 KiB units whatever backs them.
 */
#pragma once
#include "base/bitmap.h"
#include "base/error.h"
#include <stdatomic.h>

#define REGION_PAGE_SIZE  4096u
#define REGION_PAGE_SHIFT 12u
#define REGION_NAME_MAX   63
#define REGION_SIZE_MAX   (UINT64_C(1) << 46) /* 64 TiB: the limit of every size that comes from outside */

struct region {
    unsigned refs;
    char name[REGION_NAME_MAX + 1];
    char *origin;   /* path it was opened from, for the saved form; NULL when it came as a descriptor or was
                       made */
    uint32_t index; /* position in its domain: the region number on the wire */
    int fd;
    uint64_t offset_bytes; /* of the region in its file */
    uint64_t size_bytes;   /* multiple of REGION_PAGE_SIZE */
    uint64_t npages;
    uint64_t file_page_bytes; /* page size of the backing file system: 4096, or 2 MiB, 1 GiB on hugetlbfs */
    bool writable;
    bool made;    /* made by migd, so pages never written are known to be zero */
    uint8_t *map; /* whole region, MAP_SHARED */
    struct bitmap *dirty;
    struct bitmap *marks;
    /* While a migration keeps digests: of each page as it was last sent, XXH3-64; 0: not yet. The worker's;
     * borrowed from the migration, NULL when there is none. */
    const uint64_t *sent_digests;
    _Atomic uint64_t
        marked_pages; /* how many bits were put into marks since the last harvest (an upper bound) */
};

/* From a descriptor, which is duplicated. offset and size must be multiples of 4 KiB and lie inside the file
 * (checked, since a mapping beyond the end of the file kills by SIGBUS). size 0 means up to the end of the
 * file. */
int region_new_from_fd(struct region **ret, const char *name, int fd, uint64_t offset_bytes,
                       uint64_t size_bytes, bool writable, struct mig_error *err);
/* A new sealed memfd. hugepage_bytes: 0, 2 MiB or 1 GiB. numa_node: -1 for any. */
int region_new_made(struct region **ret, const char *name, uint64_t size_bytes, uint64_t hugepage_bytes,
                    int numa_node, struct mig_error *err);
struct region *region_ref(struct region *r);
struct region *region_unref(struct region *r);
DEFINE_CLEANUP(struct region *, region_unref)

/* Any thread: pages [first, first + count) were written. */
void region_mark(struct region *r, uint64_t first_page, uint64_t count);
/* Owner of dirty: takes the marks over. Returns pages that were newly set in dirty. */
uint64_t region_take_marks(struct region *r);

/* The next stretch of allocated memory at or after page `from`, by SEEK_DATA/SEEK_HOLE; false when the rest
 * is a hole. A file system that cannot tell (hugetlbfs) answers one stretch up to the end. Reads nothing. */
bool region_next_data(const struct region *r, uint64_t from_page, uint64_t *ret_first, uint64_t *ret_count);
/* The same inside [from, end), at the price of the answer: SEEK_HOLE walks every page up to the next hole,
 * which may be terabytes away, while this looks at no more than 512 pages and then ends the stretch. For code
 * that asks about one run at a time; a sweep over a whole region asks region_next_data. */
bool region_next_allocated(const struct region *r, uint64_t from_page, uint64_t end_page, uint64_t *ret_first,
                           uint64_t *ret_count);

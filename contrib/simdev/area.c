/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "area.h"
#include "record.h"

static int add(struct area *a, struct dma_map *map, const struct journal *j, uint64_t iova, uint64_t end)
{
    while (iova < end) {
        uint64_t pages;
        uint64_t *entries = journal_entry(j, iova, map->offset_bytes - map->iova, &pages);
        pages = MIN(pages, (end - iova) / DEVICE_PAGE_BYTES);
        if ((a->n & (a->n - 1)) == 0) {
            struct segment *more = reallocarray(a->segments, a->n ? a->n * 2 : 1, sizeof *more);
            if (!more)
                return -ENOMEM;
            a->segments = more;
        }
        a->segments[a->n++] = (struct segment){
            .first = a->pages,
            .pages = pages,
            .iova = iova,
            .map = map,
            .journal = entries,
        };
        a->pages += pages;
        iova += pages * DEVICE_PAGE_BYTES;
    }
    return 0;
}

/* The whole pages of the map inside [iova, last]. */
static int add_part(struct area *a, struct dma_map *map, const struct journal *j, uint64_t iova,
                    uint64_t last)
{
    iova = MAX(iova, map->iova);
    last = MIN(last, map->iova + map->size - 1);
    if (last < iova || last - iova < DEVICE_PAGE_BYTES - 1 || iova > UINT64_MAX - DEVICE_PAGE_BYTES)
        return 0;
    return add(a, map, j, align_up(iova, DEVICE_PAGE_BYTES), align_down(last + 1, DEVICE_PAGE_BYTES));
}

int area_build(struct area *a, const struct dma_table *t, const struct journal *j,
               const struct vfu_log_range *ranges, uint32_t n_ranges)
{
    area_clear(a);
    int r = 0;
    for (size_t i = 0; i < t->n && r == 0; i++) {
        struct dma_map *map = t->maps[i];
        if (!map->writable)
            continue;
        if (n_ranges == 0)
            r = add_part(a, map, j, 0, UINT64_MAX);
        for (uint32_t k = 0; k < n_ranges && r == 0; k++)
            r = add_part(a, map, j, ranges[k].iova, ranges[k].iova + (ranges[k].length - 1));
    }
    if (r < 0)
        area_clear(a);
    return r;
}

void area_clear(struct area *a)
{
    free(a->segments);
    *a = (struct area){};
}

const struct segment *area_find(const struct area *a, uint64_t page)
{
    size_t low = 0, high = a->n - 1;
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        if (a->segments[middle].first <= page)
            low = middle;
        else
            high = middle - 1;
    }
    return &a->segments[low];
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty/report.h"

void report_mapping_bits(struct dirty_sink *sink, const struct iova_mapping *m, uint64_t page_bytes,
                         const uint64_t *words, uint64_t nbits)
{
    uint64_t first_page = m->offset_bytes >> REGION_PAGE_SHIFT, npages = m->size_bytes >> REGION_PAGE_SHIFT;
    if (page_bytes == REGION_PAGE_SIZE) {
        dirty_sink_words(sink, m->region, first_page, words, MIN(nbits, npages));
        return;
    }
    if (!is_power_of_two(page_bytes) || page_bytes < REGION_PAGE_SIZE) {
        dirty_sink_range(sink, m->region, first_page, npages);
        return;
    }
    uint64_t per_bit = page_bytes >> REGION_PAGE_SHIFT;
    const struct bitmap bits = bitmap_view(words, MIN(nbits, div_round_up(npages, per_bit)));
    bitmap_for_each_run (&bits, first, count)
        dirty_sink_range(sink, m->region, first_page + first * per_bit,
                         MIN(count * per_bit, npages - first * per_bit));
}

void report_all_writable(struct iova_map *map, struct dirty_sink *sink)
{
    struct iova_mapping *all = NULL;
    size_t n = 0;
    if (iova_map_snapshot(map, &all, &n) < 0) {
        iova_map_mark(map, 0, UINT64_MAX); /* needs no memory; the harvest takes marks last */
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (all[i].prot & IOVA_WRITE)
            dirty_sink_range(sink, all[i].region, all[i].offset_bytes >> REGION_PAGE_SHIFT,
                             all[i].size_bytes >> REGION_PAGE_SHIFT);
    iova_mappings_free(all, n);
}

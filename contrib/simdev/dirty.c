/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty.h"
#include "record.h"
#include <string.h>

static uint64_t words_of(const struct dma_map *map)
{
    return div_round_up(dma_map_pages(map), 64);
}

int dirty_prepare(const struct dirty_log *log, struct dma_map *map)
{
    if (!log->on || !map->memory || map->dirty)
        return 0;
    map->dirty = calloc(words_of(map), sizeof *map->dirty);
    map->late = log->late_every ? calloc(words_of(map), sizeof *map->late) : NULL;
    return map->dirty && (map->late || !log->late_every) ? 0 : -ENOMEM;
}

int dirty_start(struct dirty_log *log, struct dma_table *t, const struct vfu_log_control *control,
                const struct vfu_log_range *ranges, uint64_t insists, uint64_t *ret_page_size)
{
    uint64_t page_size = insists ? insists : MAX(control->page_size, DEVICE_PAGE_BYTES);
    if (!is_power_of_two(control->page_size) || control->reserved)
        return -EINVAL;
    for (uint32_t i = 0; i < control->num_ranges; i++) {
        if (ranges[i].length == 0 || ranges[i].iova + ranges[i].length < ranges[i].iova)
            return -EINVAL;
    }
    if (log->on) {
        *ret_page_size = log->page_size;
        return page_size == log->page_size ? 0 : -EINVAL;
    }
    struct vfu_log_range *copy = NULL;
    if (control->num_ranges) {
        copy = reallocarray(NULL, control->num_ranges, sizeof *copy);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, ranges, control->num_ranges * sizeof *copy);
    }
    log->ranges = copy;
    log->n_ranges = control->num_ranges;
    log->page_size = page_size;
    log->on = true;
    for (size_t i = 0; i < t->n; i++) {
        int r = dirty_prepare(log, t->maps[i]);
        if (r < 0) {
            dirty_stop(log, t);
            return r;
        }
    }
    *ret_page_size = page_size;
    return 0;
}

void dirty_stop(struct dirty_log *log, struct dma_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(TAKE_PTR(t->maps[i]->dirty));
        free(TAKE_PTR(t->maps[i]->late));
    }
    free(log->ranges);
    log->ranges = NULL;
    log->n_ranges = 0;
    log->on = false;
}

/* Whether the page at iova touches a range that was asked for. */
static bool in_ranges(const struct dirty_log *log, uint64_t iova)
{
    for (uint32_t i = 0; i < log->n_ranges; i++) {
        if (iova + (DEVICE_PAGE_BYTES - 1) >= log->ranges[i].iova &&
            iova <= log->ranges[i].iova + (log->ranges[i].length - 1))
            return true;
    }
    return log->n_ranges == 0;
}

void dirty_mark(struct dirty_log *log, struct dma_map *map, uint64_t iova)
{
    if (!map->dirty || !in_ranges(log, iova))
        return;
    uint64_t n = ++log->marks;
    if (log->lose_every && n % log->lose_every == 0)
        return;
    uint64_t bit = (iova - align_down(map->iova, DEVICE_PAGE_BYTES)) / DEVICE_PAGE_BYTES;
    uint64_t *bits = map->late && n % log->late_every == 0 ? map->late : map->dirty;
    /* Release: who sees the bit sees the memory. */
    __atomic_fetch_or(&bits[bit / 64], 1ull << (bit % 64), __ATOMIC_RELEASE);
}

int dirty_check(const struct dirty_log *log, const struct dma_table *t, uint64_t iova, uint64_t length,
                uint64_t page_size)
{
    if (!log->on || !is_power_of_two(page_size) || page_size < log->page_size || length == 0 ||
        iova + length < iova)
        return -EINVAL;
    for (uint64_t at = iova; at < iova + length;) {
        const struct dma_map *map = dma_find(t, at);
        if (!map)
            return -ENOENT;
        if (!map->dirty)
            return -EINVAL;
        at = map->iova + map->size;
    }
    return 0;
}

/* The bits of one map that lie in [first, end), which count in pages from the map's first page. */
static void report_map(struct dma_map *map, uint64_t first, uint64_t end, uint64_t iova, uint64_t page_size,
                       uint64_t *bitmap)
{
    uint64_t base = align_down(map->iova, DEVICE_PAGE_BYTES);
    for (uint64_t w = first / 64; w <= (end - 1) / 64; w++) {
        uint64_t mask = UINT64_MAX;
        if (w == first / 64)
            mask &= UINT64_MAX << (first % 64);
        if (w == (end - 1) / 64)
            mask &= UINT64_MAX >> (63 - (end - 1) % 64);
        uint64_t found = 0;
        if (__atomic_load_n(&map->dirty[w], __ATOMIC_RELAXED) & mask)
            found = __atomic_fetch_and(&map->dirty[w], ~mask, __ATOMIC_ACQUIRE) & mask;
        if (map->late) {
            uint64_t late = __atomic_fetch_and(&map->late[w], ~mask, __ATOMIC_ACQUIRE) & mask;
            __atomic_fetch_or(&map->dirty[w], late, __ATOMIC_RELEASE);
        }
        for (; found; found &= found - 1) {
            uint64_t page_iova = base + (w * 64 + (unsigned)__builtin_ctzll(found)) * DEVICE_PAGE_BYTES;
            uint64_t bit = page_iova <= iova ? 0 : (page_iova - iova) / page_size;
            bitmap[bit / 64] |= 1ull << (bit % 64);
        }
    }
}

int dirty_report(struct dirty_log *log, struct dma_table *t, uint64_t iova, uint64_t length,
                 uint64_t page_size, uint64_t *bitmap)
{
    int r = dirty_check(log, t, iova, length, page_size);
    if (r < 0)
        return r;
    uint64_t range_end = iova + length;
    for (uint64_t at = iova; at < range_end;) {
        struct dma_map *map = dma_find(t, at);
        uint64_t base = align_down(map->iova, DEVICE_PAGE_BYTES);
        uint64_t end = MIN(range_end, map->iova + map->size);
        report_map(map, (at - base) / DEVICE_PAGE_BYTES, div_round_up(end - base, DEVICE_PAGE_BYTES), iova,
                   page_size, bitmap);
        at = end;
    }
    return 0;
}

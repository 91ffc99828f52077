/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages that the engine may write, numbered from 0 in the order of their IOVAs: what is mapped writable,
 * cut to the --range options and to whole pages, in pieces that are in one piece in memory and in the journal
 * too.
 */
#pragma once
#include "dma.h"
#include "journal.h"

struct segment {
    uint64_t first; /* number of its first page */
    uint64_t pages;
    uint64_t iova;
    struct dma_map *map;
    uint64_t *journal; /* entries of its pages, may be NULL */
};

struct area {
    struct segment *segments;
    size_t n;
    uint64_t pages; /* of all segments */
};

/* Builds *a anew; on failure it is empty. ranges: none means everything. */
int area_build(struct area *a, const struct dma_table *t, const struct journal *j,
               const struct vfu_log_range *ranges, uint32_t n_ranges);
void area_clear(struct area *a);
/* The segment that holds page number `page`, which must be below a->pages. */
const struct segment *area_find(const struct area *a, uint64_t page);

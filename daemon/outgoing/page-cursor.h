/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is still to be sent in a round: a cursor over the dirty bitmaps of all regions, from which the sending
 * threads take batches.
 *
 * A batch's bits are cleared when it is taken, before anybody reads its pages (rule R2). A batch that could
 * not be sent is put back. The bitmaps belong to the cursor while a round runs; its lock is taken once per
 * batch.
 */
#pragma once
#include "memory/region.h"
#include <pthread.h>

/* 2 MiB, what one page of page tables maps, so that two threads rarely fault into the same one. Scattered
 * pages make smaller batches: the few of a last round must be enough for all connections. */
#define BATCH_PAGES 512u
#define BATCH_RUNS  128u

struct page_run {
    uint64_t first, count;
    bool hole; /* nothing is allocated there: it is zero and must not be read, which would allocate it */
};
struct page_batch {
    struct region *region;
    uint32_t region_index;
    unsigned nruns;
    struct page_run runs[BATCH_RUNS];
};
struct page_cursor {
    pthread_mutex_t lock;
    struct region *const *regions; /* borrowed */
    uint32_t nregions;
    bool full; /* round 0: what is not marked is a hole and is sent as such */
    uint32_t region;
    uint64_t page;
    bool may_have_holes;  /* of the current region; false in round 0, whose marks tell */
    uint32_t batch_pages; /* at most BATCH_PAGES, which it is after page_cursor_init */
};

void page_cursor_init(struct page_cursor *c, struct region *const *regions, uint32_t nregions);
void page_cursor_destroy(struct page_cursor *c);
/* Back to the front. full: marks everything that the files hold data for, and nothing else. */
void page_cursor_start(struct page_cursor *c, bool full);
/* False when nothing is left. */
bool page_cursor_take(struct page_cursor *c, struct page_batch *ret);
void page_cursor_put_back(struct page_cursor *c, uint32_t region, uint64_t first, uint64_t count);
/* A full round that ends early: what it had not come to yet, holes included, stays marked for the rounds
 * after it. */
void page_cursor_abandon(struct page_cursor *c);

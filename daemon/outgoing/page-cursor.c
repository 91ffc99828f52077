/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/page-cursor.h"
#include <sys/stat.h>

/* Trackers report large runs for what their large pages cover, and only such a run can contain a hole that
 * somebody marked: shorter ones are not worth the question. */
#define HOLE_QUESTION_PAGES 16u

void page_cursor_init(struct page_cursor *c, struct region *const *regions, uint32_t nregions)
{
    *c = (struct page_cursor){.regions = regions, .nregions = nregions, .batch_pages = BATCH_PAGES};
    pthread_mutex_init(&c->lock, NULL);
}

void page_cursor_destroy(struct page_cursor *c)
{
    pthread_mutex_destroy(&c->lock);
}

static bool has_holes(const struct region *r)
{
    struct stat st;
    if (r->file_page_bytes > REGION_PAGE_SIZE || fstat(r->fd, &st) < 0)
        return false;
    return (uint64_t)st.st_blocks * 512 < (uint64_t)st.st_size;
}

/* To look for the next hole the kernel visits every page before it, 8 s for 1 TiB, and nothing is sent
 * meanwhile: memory without holes is not asked. */
static void mark_data(struct region *r)
{
    uint64_t first, count;
    if (!has_holes(r)) {
        bitmap_set_range(r->dirty, 0, r->npages);
        return;
    }
    bitmap_clear_all(r->dirty);
    for (uint64_t from = 0; region_next_data(r, from, &first, &count); from = first + count)
        bitmap_set_range(r->dirty, first, count);
}

static void enter_region(struct page_cursor *c, uint32_t region)
{
    c->region = region;
    c->page = 0;
    c->may_have_holes = !c->full && region < c->nregions && has_holes(c->regions[region]);
}

void page_cursor_start(struct page_cursor *c, bool full)
{
    pthread_mutex_lock(&c->lock);
    c->full = full;
    for (uint32_t i = 0; full && i < c->nregions; i++)
        mark_data(c->regions[i]);
    enter_region(c, 0);
    pthread_mutex_unlock(&c->lock);
}

/*
 * A run of marked pages of a file with holes: cuts it where it stops being all data or all hole. A hole is
 * taken as far as it and the marks reach, whatever the size of a batch, since it costs nothing to send.
 */
static struct page_run cut_at_hole(const struct region *r, struct page_run run, bool run_goes_on)
{
    uint64_t first, count, end = run_goes_on ? r->npages : run.first + run.count;
    bool data = region_next_allocated(r, run.first, end, &first, &count);
    if (data && first == run.first) {
        run.count = MIN(run.count, count);
        return run;
    }
    run.hole = true;
    bitmap_next_run(r->dirty, run.first, data ? first : end, UINT64_MAX, &run.first, &run.count);
    return run;
}

/* Fills the batch from the current region. */
static void take_here(struct page_cursor *c, struct region *r, struct page_batch *b)
{
    uint64_t pages = 0;
    while (pages < c->batch_pages && b->nruns < BATCH_RUNS && c->page < r->npages) {
        struct page_run run = {0};
        bool found =
            bitmap_next_run(r->dirty, c->page, r->npages, c->batch_pages - pages, &run.first, &run.count);
        if (!found)
            run = (struct page_run){.first = r->npages};
        if (c->full && run.first > c->page)
            run = (struct page_run){.first = c->page, .count = run.first - c->page, .hole = true};
        else if (found && c->may_have_holes && run.count >= HOLE_QUESTION_PAGES)
            run = cut_at_hole(r, run, run.count == c->batch_pages - pages);
        c->page = run.first + run.count;
        if (run.count == 0)
            break;
        bitmap_clear_range(r->dirty, run.first, run.count);
        b->runs[b->nruns++] = run;
        pages += run.hole ? 0 : run.count;
    }
}

bool page_cursor_take(struct page_cursor *c, struct page_batch *ret)
{
    ret->nruns = 0;
    pthread_mutex_lock(&c->lock);
    while (c->region < c->nregions && ret->nruns == 0) {
        ret->region = c->regions[c->region];
        ret->region_index = c->region;
        take_here(c, ret->region, ret);
        if (c->page >= ret->region->npages)
            enter_region(c, c->region + 1);
    }
    pthread_mutex_unlock(&c->lock);
    return ret->nruns > 0;
}

void page_cursor_put_back(struct page_cursor *c, uint32_t region, uint64_t first, uint64_t count)
{
    pthread_mutex_lock(&c->lock);
    bitmap_set_range(c->regions[region]->dirty, first, count);
    pthread_mutex_unlock(&c->lock);
}

void page_cursor_abandon(struct page_cursor *c)
{
    pthread_mutex_lock(&c->lock);
    for (; c->full && c->region < c->nregions; enter_region(c, c->region + 1)) {
        struct region *r = c->regions[c->region];
        bitmap_set_range(r->dirty, c->page, r->npages - c->page);
    }
    pthread_mutex_unlock(&c->lock);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine.h"
#include "base/clock.h"
#include "base/log.h"
#include "device.h"
#include "record.h"
#include <string.h>
#include <time.h>

#define SLICE_PAGES            512u    /* at most, between two looks at the clock */
#define BATCH_USEC             1000u   /* sleeps are not shorter: so many pages come in a row */
#define BEHIND_USEC            100000u /* what could not be written in this time is forgotten */
#define BURSTS_PER_SEC         5u
#define FULL_SPEED_BURST_PAGES 4096u
#define FULL_SPEED_PAUSE_USEC  50000u
#define RETRY_USEC             10000u
#define PARK_TICK_USEC         500u
#define READ_BACK_EVERY        16u

/* By message: the client writes for us, and now and then we look whether it did. */
static int write_by_message(struct engine *e, uint64_t iova, const struct record *record)
{
    struct conn *c = e->device->conn;
    uint64_t at = iova + record_offset(e->device->options->id);
    if (!c)
        return -EPIPE;
    int r = conn_dma_write(c, at, record, sizeof *record);
    if (r == 0 && record->sequence % READ_BACK_EVERY == 0) {
        struct record back;
        r = conn_dma_read(c, at, &back, sizeof back);
        if (r == 0 && memcmp(&back, record, sizeof back) != 0) {
            log_error("page 0x%llx does not hold what was written by message", (unsigned long long)iova);
            e->dma_errors++;
        }
    }
    if (r == -EPIPE)
        conn_break(c);
    return r;
}

static int write_page(struct engine *e)
{
    struct device *d = e->device;
    uint64_t page = pattern_next(&e->pattern, e->area.pages, e->rate);
    const struct segment *s = area_find(&e->area, page);
    uint64_t iova = s->iova + (page - s->first) * DEVICE_PAGE_BYTES;
    uint64_t sequence = atomic_load_explicit(&e->sequence, memory_order_relaxed) + 1;
    struct record record;
    record_fill(&record, d->options->id, sequence, iova);
    if (s->map->memory && !d->options->by_message) {
        memcpy(s->map->memory + (iova - s->map->iova) + record_offset(d->options->id), &record,
               sizeof record);
        dirty_mark(&d->log, s->map, iova);
    } else {
        /* Not in the log: the client made this write itself and knows of it. */
        int r = write_by_message(e, iova, &record);
        if (r < 0) {
            e->dma_errors++;
            return r;
        }
    }
    atomic_store_explicit(&e->sequence, sequence, memory_order_relaxed);
    journal_note(&d->journal, s->journal ? s->journal + (page - s->first) : NULL, sequence);
    e->pages_written++;
    return 0;
}

/* Returns how many were written; fewer when the engine shall park or memory cannot be reached. */
static uint64_t write_pages(struct engine *e, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (atomic_load_explicit(&e->hold, memory_order_relaxed))
            return i;
        if (write_page(e) < 0) {
            e->retry_usec = now_usec() + RETRY_USEC;
            return i;
        }
    }
    return n;
}

static uint64_t burst(struct engine *e, uint64_t now)
{
    if (e->burst_left == 0) {
        if (now < e->next_burst_usec)
            return e->next_burst_usec;
        uint64_t pause =
            e->rate ? MAX(USEC_PER_SEC / BURSTS_PER_SEC, USEC_PER_SEC / e->rate) : FULL_SPEED_PAUSE_USEC;
        e->burst_left = e->rate ? MAX(e->rate / BURSTS_PER_SEC, 1ull) : FULL_SPEED_BURST_PAGES;
        e->next_burst_usec = now + pause;
    }
    e->burst_left -= write_pages(e, MIN(e->burst_left, (uint64_t)SLICE_PAGES));
    if (e->burst_left)
        return 0;
    pattern_end_burst(&e->pattern, e->area.pages);
    irqs_trigger(&e->device->irqs, IRQ_MSIX, 0);
    return e->next_burst_usec;
}

static uint64_t paced(struct engine *e, uint64_t now, uint64_t rate)
{
    uint64_t elapsed = now - e->epoch_usec;
    uint64_t due = (uint64_t)((unsigned __int128)elapsed * rate / USEC_PER_SEC) - e->epoch_pages;
    if ((unsigned __int128)due * USEC_PER_SEC > (unsigned __int128)rate * BEHIND_USEC + USEC_PER_SEC) {
        e->epoch_usec = now;
        e->epoch_pages = 0;
        due = 1;
    }
    uint64_t written = write_pages(e, MIN(due, (uint64_t)SLICE_PAGES));
    e->epoch_pages += written;
    if (written < due)
        return 0;
    uint64_t next =
        e->epoch_usec + (uint64_t)((unsigned __int128)(e->epoch_pages + 1) * USEC_PER_SEC / rate) + 1;
    return MAX(next, now + BATCH_USEC);
}

/* Writes what is due; returns when to be called again. */
static uint64_t slice(struct engine *e)
{
    uint64_t now = now_usec();
    if (e->mode == ENGINE_QUIET || e->area.pages == 0)
        return USEC_INFINITY;
    if (now < e->retry_usec)
        return e->retry_usec;
    if (e->mode == ENGINE_STRAYS)
        return paced(e, now, e->device->options->misbehave.write_after_stop_rate);
    if (e->doorbell) {
        e->doorbell -= write_pages(e, MIN(e->doorbell, (uint64_t)SLICE_PAGES));
        if (e->doorbell == 0)
            irqs_trigger(&e->device->irqs, IRQ_MSIX, 0);
        return 0;
    }
    if (!e->control)
        return USEC_INFINITY;
    if (e->pattern.kind == PATTERN_BURST)
        return burst(e, now);
    if (e->rate == 0) {
        write_pages(e, SLICE_PAGES);
        return 0;
    }
    return paced(e, now, e->rate);
}

static void wait_until(struct engine *e, uint64_t deadline_usec)
{
    if (deadline_usec == USEC_INFINITY) {
        pthread_cond_wait(&e->changed, &e->lock);
        return;
    }
    struct timespec ts = {
        .tv_sec = (time_t)(deadline_usec / USEC_PER_SEC),
        .tv_nsec = (long)(deadline_usec % USEC_PER_SEC * 1000),
    };
    pthread_cond_timedwait(&e->changed, &e->lock, &ts);
}

static void *run(void *userdata)
{
    struct engine *e = userdata;
    uint64_t deadline = 0;
    pthread_mutex_lock(&e->lock);
    for (;;) {
        bool was_parked = e->parked;
        e->parked = true;
        if (!was_parked)
            pthread_cond_broadcast(&e->changed);
        if (e->quit)
            break;
        if (atomic_load(&e->hold)) {
            wait_until(e, USEC_INFINITY);
            continue;
        }
        if (e->released) {
            e->released = false;
            deadline = 0; /* anything may have changed */
        }
        if (deadline > now_usec()) {
            wait_until(e, deadline);
            continue;
        }
        e->parked = false;
        pthread_mutex_unlock(&e->lock);
        deadline = slice(e);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

int engine_start(struct engine *e, struct device *device)
{
    const struct options *o = device->options;
    *e = (struct engine){
        .device = device,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .control = !o->idle,
        .rate = o->rate,
    };
    pattern_init(&e->pattern, o->pattern, o->seed);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->changed, &attr);
    pthread_condattr_destroy(&attr);
    e->epoch_usec = now_usec();
    int r = -pthread_create(&e->thread, NULL, run, e);
    e->has_thread = r == 0;
    return r;
}

void engine_stop(struct engine *e)
{
    if (e->has_thread) {
        pthread_mutex_lock(&e->lock);
        e->quit = true;
        atomic_store(&e->hold, true);
        pthread_cond_broadcast(&e->changed);
        pthread_mutex_unlock(&e->lock);
        pthread_join(e->thread, NULL);
        e->has_thread = false;
    }
    area_clear(&e->area);
}

void engine_park(struct engine *e)
{
    struct conn *c = e->device->conn;
    atomic_store(&e->hold, true);
    pthread_mutex_lock(&e->lock);
    pthread_cond_broadcast(&e->changed);
    while (!e->parked) {
        /* It may be waiting for the client's answer to a DMA message, which only this thread can read. */
        wait_until(e, c ? now_usec() + PARK_TICK_USEC : USEC_INFINITY);
        if (c && !e->parked) {
            pthread_mutex_unlock(&e->lock);
            conn_pump(c, 0);
            pthread_mutex_lock(&e->lock);
        }
    }
    pthread_mutex_unlock(&e->lock);
}

void engine_release(struct engine *e)
{
    struct device *d = e->device;
    if (e->area_changed) {
        e->area_changed = false;
        if (area_build(&e->area, &d->dma, &d->journal, d->options->ranges, d->options->n_ranges) < 0)
            log_error("not enough memory for the list of pages: the engine stands still");
    }
    e->epoch_usec = now_usec();
    e->epoch_pages = 0;
    e->retry_usec = 0;
    pthread_mutex_lock(&e->lock);
    atomic_store(&e->hold, false);
    e->released = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

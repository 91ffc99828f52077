/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/populate-beside.h"
#include "base/bitmap.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif
#define CHUNK_SHIFT       21u
#define CHUNK_BYTES       (UINT64_C(1) << CHUNK_SHIFT)
#define AHEAD_MAX_BYTES   (UINT64_C(64) << 20)
#define STRETCH_MIN_BYTES (UINT64_C(64) << 10) /* less says nothing about what follows */
/* Connections take batches of 2 MiB in turn, and may be some of them behind each other. More than that is a
 * gap. Less may be one too, so what is missing counts against what came. */
#define OUT_OF_ORDER_BYTES (UINT64_C(16) << 20)
#define MISSING_WEIGHT     4u

struct populate_beside {
    struct region *const *regions;
    size_t nregions;
    unsigned nthreads;
    pthread_t threads[POPULATE_BESIDE_MAX_THREADS];

    pthread_mutex_t lock; /* all that follows */
    pthread_cond_t more;
    bool end;
    bool failed;          /* the kernel has no more, or cannot */
    struct bitmap **done; /* per region: chunks */
    size_t region;        /* the stretch that comes at present */
    uint64_t from_bytes, to_bytes, came_bytes;
    uint64_t next_chunk;
    uint64_t bytes;
};

unsigned populate_beside_threads(size_t connections)
{
    cpu_set_t set;
    double load = 0;
    if (sched_getaffinity(0, sizeof set, &set) < 0 || getloadavg(&load, 1) < 1)
        return 0;
    double idle = CPU_COUNT(&set) - load - (double)connections;
    return idle < 1 ? 0 : (unsigned)MIN(idle, (double)POPULATE_BESIDE_MAX_THREADS);
}

static uint64_t missing_bytes(const struct populate_beside *b)
{
    uint64_t span = b->to_bytes - b->from_bytes;
    return span > b->came_bytes ? span - b->came_bytes : 0;
}

static uint64_t ahead_bytes(const struct populate_beside *b)
{
    uint64_t against = missing_bytes(b) * MISSING_WEIGHT;
    return b->came_bytes > against ? MIN(b->came_bytes - against, AHEAD_MAX_BYTES) : 0;
}

/* Lock held: the next chunk that is worth it. False when there is none. */
static bool next_locked(struct populate_beside *b, uint64_t *ret_chunk)
{
    struct bitmap *done = b->done[b->region];
    uint64_t end = MIN((b->to_bytes + ahead_bytes(b)) >> CHUNK_SHIFT, done->nbits);
    b->next_chunk = MAX(b->next_chunk, div_round_up(b->to_bytes, CHUNK_BYTES));
    while (b->next_chunk < end && bitmap_test(done, b->next_chunk))
        b->next_chunk++;
    *ret_chunk = b->next_chunk;
    return !b->failed && b->next_chunk < end;
}

static void *run(void *userdata)
{
    struct populate_beside *b = userdata;
    pthread_mutex_lock(&b->lock);
    while (!b->end) {
        uint64_t chunk;
        if (!next_locked(b, &chunk)) {
            pthread_cond_wait(&b->more, &b->lock);
            continue;
        }
        b->next_chunk = chunk + 1;
        size_t region = b->region;
        const struct region *r = b->regions[region];
        uint64_t offset = chunk << CHUNK_SHIFT, size = MIN(CHUNK_BYTES, r->size_bytes - offset);
        pthread_mutex_unlock(&b->lock);
        int n = madvise(r->map + offset, size, MADV_POPULATE_WRITE);
        bool again = n < 0 && (errno == EINTR || errno == EAGAIN); /* whoever receives there does it */
        pthread_mutex_lock(&b->lock);
        if (n == 0) {
            bitmap_set_range(b->done[region], chunk, 1);
            b->bytes += size;
        }
        b->failed |= n < 0 && !again;
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

int populate_beside_new(struct populate_beside **ret, struct region *const *regions, size_t nregions,
                        unsigned threads)
{
    struct populate_beside *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->more, NULL);
    b->regions = regions;
    b->nregions = nregions;
    b->done = calloc(MAX(nregions, (size_t)1), sizeof *b->done);
    int r = b->done ? 0 : -ENOMEM;
    for (size_t i = 0; i < nregions && r == 0; i++)
        r = bitmap_new(&b->done[i], div_round_up(regions[i]->size_bytes, CHUNK_BYTES));
    for (; nregions > 0 && b->nthreads < threads && r == 0; b->nthreads += r == 0)
        r = -pthread_create(&b->threads[b->nthreads], NULL, run, b);
    if (r < 0) {
        populate_beside_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

struct populate_beside *populate_beside_free(struct populate_beside *b)
{
    if (!b)
        return NULL;
    pthread_mutex_lock(&b->lock);
    b->end = true;
    pthread_cond_broadcast(&b->more);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->nthreads; i++)
        pthread_join(b->threads[i], NULL);
    for (size_t i = 0; b->done && i < b->nregions; i++)
        bitmap_free(b->done[i]);
    free(b->done);
    pthread_cond_destroy(&b->more);
    pthread_mutex_destroy(&b->lock);
    free(b);
    return NULL;
}

/* Lock held. */
static void note_locked(struct populate_beside *b, size_t region, uint64_t offset_bytes,
                        uint64_t length_bytes)
{
    uint64_t end = offset_bytes + length_bytes;
    bool near = region == b->region && offset_bytes <= b->to_bytes + OUT_OF_ORDER_BYTES &&
                end + OUT_OF_ORDER_BYTES >= b->from_bytes;
    if (near) {
        b->from_bytes = MIN(b->from_bytes, offset_bytes);
        b->to_bytes = MAX(b->to_bytes, end);
        b->came_bytes += length_bytes;
    }
    if (near && missing_bytes(b) <= OUT_OF_ORDER_BYTES)
        return;
    b->region = region;
    b->from_bytes = b->to_bytes = end;
    b->came_bytes = 0;
    b->next_chunk = 0;
}

bool populate_beside_came(struct populate_beside *b, size_t region, uint64_t offset_bytes,
                          uint64_t length_bytes)
{
    uint64_t chunk = offset_bytes >> CHUNK_SHIFT, last = (offset_bytes + length_bytes - 1) >> CHUNK_SHIFT;
    bool all = true;
    pthread_mutex_lock(&b->lock);
    for (; chunk <= last && all; chunk++)
        all = bitmap_test(b->done[region], chunk);
    if (length_bytes >= STRETCH_MIN_BYTES) {
        note_locked(b, region, offset_bytes, length_bytes);
        if (next_locked(b, &chunk))
            pthread_cond_broadcast(&b->more);
    }
    pthread_mutex_unlock(&b->lock);
    return all;
}

uint64_t populate_beside_bytes(struct populate_beside *b)
{
    pthread_mutex_lock(&b->lock);
    uint64_t bytes = b->bytes;
    pthread_mutex_unlock(&b->lock);
    return bytes;
}

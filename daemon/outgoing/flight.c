/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/flight.h"
#include <string.h>

#define FIRST_EXTENTS 1024u

struct entry {
    uint64_t sequence, first, count; /* pages */
    uint32_t region;
};
struct flight { /* a ring; both sizes are powers of two */
    struct entry *entries;
    uint32_t size, begin, used;
};

int flight_new(struct flight **ret)
{
    _cleanup_(flight_freep) struct flight *f = calloc(1, sizeof *f);
    if (!f || !(f->entries = calloc(FIRST_EXTENTS, sizeof *f->entries)))
        return -ENOMEM;
    f->size = FIRST_EXTENTS;
    *ret = TAKE_PTR(f);
    return 0;
}

struct flight *flight_free(struct flight *f)
{
    if (f)
        free(f->entries);
    free(f);
    return NULL;
}

static struct entry *nth(const struct flight *f, uint32_t n)
{
    return &f->entries[(f->begin + n) & (f->size - 1)];
}

static int make_room(struct flight *f, uint32_t count)
{
    uint32_t size = f->size;
    while (size < f->used + count)
        size *= 2;
    if (size == f->size)
        return 0;
    struct entry *more = calloc(size, sizeof *more);
    if (!more)
        return -ENOMEM;
    for (uint32_t i = 0; i < f->used; i++)
        more[i] = *nth(f, i);
    free(f->entries);
    f->entries = more;
    f->size = size;
    f->begin = 0;
    return 0;
}

int flight_add(struct flight *f, uint64_t sequence, uint32_t region, const struct wire_extent *table,
               uint32_t count)
{
    if (count > FLIGHT_MAX_EXTENTS - f->used)
        return -ENOBUFS;
    int r = make_room(f, count);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        *nth(f, f->used + i) = (struct entry){.sequence = sequence,
                                              .region = region,
                                              .first = table[i].offset >> REGION_PAGE_SHIFT,
                                              .count = table[i].length >> REGION_PAGE_SHIFT};
    if (r == 0)
        f->used += count;
    return r;
}

void flight_applied(struct flight *f, uint64_t frames)
{
    while (f->used && nth(f, 0)->sequence < frames) {
        f->begin = (f->begin + 1) & (f->size - 1);
        f->used--;
    }
}

uint64_t flight_put_back(struct flight *f, struct region *const *regions)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < f->used; i++) {
        const struct entry *e = nth(f, i);
        bitmap_set_range(regions[e->region]->dirty, e->first, e->count);
        pages += e->count;
    }
    flight_clear(f);
    return pages;
}

void flight_clear(struct flight *f)
{
    f->used = f->begin = 0;
}

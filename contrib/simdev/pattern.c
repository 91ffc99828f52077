/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pattern.h"
#include "record.h"
#include <math.h>

#define SCATTER           2654435761ull /* a prime: neighbours in rank are far apart in memory */
#define OSCILLATE_SECONDS 10u

void pattern_init(struct pattern *p, enum pattern_kind kind, uint64_t seed)
{
    *p = (struct pattern){.kind = kind, .random = seed};
}

static uint64_t below(uint64_t *random, uint64_t n)
{
    return (uint64_t)((unsigned __int128)random_next(random) * n >> 64);
}

/* Rank r comes with a probability of about 1/r: the continuous zipf distribution with exponent 1, by
 * inversion. */
static uint64_t zipf(struct pattern *p, uint64_t pages)
{
    double u = (double)(random_next(&p->random) >> 11) * 0x1p-53;
    uint64_t rank = (uint64_t)exp(u * log((double)pages + 1)) - 1;
    return (uint64_t)((unsigned __int128)(rank < pages ? rank : pages - 1) * SCATTER % pages);
}

/* Uniform in a working set that grows from 1/64 of the memory to all of it and shrinks again, in a triangle.
 */
static uint64_t oscillate(struct pattern *p, uint64_t pages, uint64_t rate)
{
    uint64_t period = rate ? rate * OSCILLATE_SECONDS : pages * 8;
    if (period < 64)
        period = 64;
    double phase = (double)(p->steps % period) / (double)period;
    double height = phase < 0.5 ? phase * 2 : 2 - phase * 2;
    double floor_pages = (double)pages / 64;
    uint64_t set = (uint64_t)(floor_pages + ((double)pages - floor_pages) * height);
    return below(&p->random, set < 1 ? 1 : set > pages ? pages : set);
}

uint64_t pattern_next(struct pattern *p, uint64_t pages, uint64_t rate)
{
    p->steps++;
    switch (p->kind) {
    case PATTERN_UNIFORM:
        return below(&p->random, pages);
    case PATTERN_ZIPF:
        return zipf(p, pages);
    case PATTERN_OSCILLATE:
        return oscillate(p, pages, rate);
    default: /* ring, and inside a burst */
        return p->position++ % pages;
    }
}

void pattern_end_burst(struct pattern *p, uint64_t pages)
{
    p->position = below(&p->random, pages);
}

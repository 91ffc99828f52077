/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small random number generator for model tests: the same seed gives the same steps everywhere. */
#pragma once
#include <stdint.h>

struct rnd {
    uint64_t state;
};

static inline uint64_t rnd_next(struct rnd *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 <= x < limit; limit must not be 0. */
static inline uint64_t rnd_below(struct rnd *r, uint64_t limit)
{
    return (uint64_t)((unsigned __int128)rnd_next(r) * limit >> 64);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which page is written next. Pure, and small enough to travel as part of the device's state. */
#pragma once
#include "options.h"

struct pattern {
    uint32_t kind; /* enum pattern_kind */
    uint32_t reserved;
    uint64_t random;   /* state of the generator */
    uint64_t position; /* ring and burst: the next page */
    uint64_t steps;    /* how many pages were asked for */
};

void pattern_init(struct pattern *p, enum pattern_kind kind, uint64_t seed);
/* The next of `pages` pages (at least 1). rate: pages per second, sets the period of `oscillate`. */
uint64_t pattern_next(struct pattern *p, uint64_t pages, uint64_t rate);
/* A burst ends: the next one begins elsewhere. */
void pattern_end_burst(struct pattern *p, uint64_t pages);

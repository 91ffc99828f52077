/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The order in which pages get records, as guest.S has it: so whoever knows how many were written knows what
 * every page must hold. The guest's pages follow it, and those that edu writes.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct pattern {
    const char *name;
    uint8_t *base;
    uint64_t magic, pages;
    uint64_t stride; /* no common divisor with pages */
};

void pattern_init(struct pattern *p, const char *name, uint8_t *base, uint64_t magic, uint64_t pages);
/* Where record seq (from 1) goes. */
uint64_t pattern_page(const struct pattern *p, uint64_t seq);
/* Record seq into a page of memory, which need not be its place. */
void pattern_fill(const struct pattern *p, uint64_t seq, void *page);
/* Holds every page against what it must hold after `count` records; says what is wrong. How many pages are.
 * under_way: who writes them may have been stopped inside the next record, whose page can hold anything. */
uint64_t pattern_check(const struct pattern *p, uint64_t count, bool under_way);

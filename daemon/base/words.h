/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inner loops under bitmaps: arrays of 64-bit words, most of which are zero most of the time. Each exists
 * once in portable C with vector types and is compiled for plain x86-64, AVX2 and AVX-512; the processor
 * picks at run time.
 *
 * No state; any thread. Plain loads and stores: see bitmap.h for what may run beside other threads.
 */
#pragma once
#include "base/util.h"

/* Index of the first word at or after `from` that is not zero, or n. */
uint64_t words_skip_clean(const uint64_t *words, uint64_t from, uint64_t n);
/* Index of the first word at or after `from` that is not all ones, or n. */
uint64_t words_skip_full(const uint64_t *words, uint64_t from, uint64_t n);
uint64_t words_count(const uint64_t *words, uint64_t n);

/* dst |= src over n words. Adds to *set the bits that src has, to *fresh those of them that dst had not.
 * Cache lines of src that are zero cost their load and nothing else: dst is not touched for them. */
void words_or(uint64_t *dst, const uint64_t *src, uint64_t n, uint64_t *set, uint64_t *fresh);

/* An edge is a bit that differs from the bit before it, so the edges of a bitmap are, in turn, where a run of
 * ones starts and where it ends. Writes the edges of words[from..n) as bit numbers, in order, and returns how
 * many. words[from - 1] is read: from must be at least 1. Stops before a word whose edges might not fit into
 * max, which must be at least WORDS_EDGES_MIN; *ret_next is the first word not looked at. */
#define WORDS_EDGES_MIN 4096u
size_t words_edges(const uint64_t *words, uint64_t from, uint64_t n, uint64_t *edges, size_t max,
                   uint64_t *ret_next);

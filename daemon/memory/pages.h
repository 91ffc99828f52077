/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is done to the bytes of pages: is it zero, make it zero, digest it. Inner loops, no state, any thread.
 */
#pragma once
#include "memory/region.h"

/* True when the 4 KiB at p are all zero. Reads one cache line of most pages that are not. */
bool page_is_zero(const void *p);
/* Of `count` pages from `first`: how many of the leading ones are all zero (want_zero) or not zero
 * (!want_zero). At least 1 when the first page is of the wanted kind, else 0. Prefetches across pages, so
 * that random non-zero memory costs about one cache line each. It reads through the mapping, and reading a
 * hole of a tmpfs file allocates it: ask about stretches that region_next_data() or region_next_allocated()
 * answered. */
uint64_t pages_run(const struct region *r, uint64_t first, uint64_t count, bool want_zero);
/* Makes pages zero without touching holes and without unmapping memory that a device may have pinned: pages
 * that are allocated are checked, and written only if they are not zero. Returns how many were written. */
uint64_t pages_zero(struct region *r, uint64_t first, uint64_t count);
/* XXH3-64 of each 4 KiB page into digests[0..count). Holes get the digest of a zero page without being read.
 */
void pages_digest(const struct region *r, uint64_t first, uint64_t count, uint64_t *digests);

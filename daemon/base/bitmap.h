/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Page bitmaps: bit n stands for page n of a region. Bits live in 64-bit words, little end first, as the
 * kernel's and vfio-user's dirty bitmaps do, so that a report can be merged word by word.
 *
 * Large bitmaps (1 TiB of 4 KiB pages is 32 MiB) are mapped, not malloc'ed, with huge pages asked for, and
 * memory that was never written costs nothing: a fresh bitmap of a sparse region stays small, and scanning it
 * does not make it larger.
 *
 * Threads: only the functions with _atomic in their name may run while another thread touches the same words.
 */
#pragma once
#include "base/util.h"

#define BITMAP_WORD_BITS 64u

struct bitmap {
    uint64_t *words;
    uint64_t nbits; /* bits beyond nbits in the last word are always zero */
    uint64_t nwords;
};

/* All bits zero. -ENOMEM, -EINVAL for 0 bits. */
int bitmap_new(struct bitmap **ret, uint64_t nbits);
struct bitmap *bitmap_free(struct bitmap *b);
DEFINE_CLEANUP(struct bitmap *, bitmap_free)

/* Ranges must lie inside nbits; they are clipped when they do not. */
void bitmap_set_range(struct bitmap *b, uint64_t first, uint64_t count);
uint64_t bitmap_set_range_counted(struct bitmap *b, uint64_t first,
                                  uint64_t count); /* returns bits that were not set */
void bitmap_clear_range(struct bitmap *b, uint64_t first, uint64_t count);
void bitmap_clear_all(struct bitmap *b); /* gives the memory of large bitmaps back */
bool bitmap_test(const struct bitmap *b, uint64_t bit);
uint64_t bitmap_count(const struct bitmap *b);
bool bitmap_is_empty(const struct bitmap *b);

/* ORs nbits bits of src (its bit 0 is first) into b at `first`; any alignment. Words of src beyond nbits are
 * ignored, as are stray bits in its last word. *ret_set: bits that were set in src; *ret_new: of these, bits
 * that b did not have. Both pointers may be NULL. This is an inner loop: clean words cost one load. */
void bitmap_or_words(struct bitmap *b, uint64_t first, const uint64_t *src, uint64_t nbits, uint64_t *ret_set,
                     uint64_t *ret_new);

/* Sets bits while other threads set or take bits. */
void bitmap_set_range_atomic(struct bitmap *b, uint64_t first, uint64_t count);
/* Moves every bit of src into dst (same nbits): src is cleared word by word with an atomic exchange. Counts
 * as above. */
void bitmap_take_atomic(struct bitmap *dst, struct bitmap *src, uint64_t *ret_set, uint64_t *ret_new);

/* The first run of set bits at or after `from` and before `end`. False when there is none. The run is cut at
 * `end` and at max_count. This is the other inner loop: a clean bitmap is skipped at memory speed. */
bool bitmap_next_run(const struct bitmap *b, uint64_t from, uint64_t end, uint64_t max_count,
                     uint64_t *ret_first, uint64_t *ret_count);
#define bitmap_for_each_run(b, first, count)                                                                 \
    for (uint64_t first = 0, count = 0;                                                                      \
         bitmap_next_run((b), first + count, (b)->nbits, UINT64_MAX, &first, &count);)

/* Many runs at once, for dense bitmaps, where a call per run would cost more than the run: all runs at or
 * after *pos and before `end` that fit, in order. Returns how many; *pos is where to go on, and is at least
 * `end` when there is no more. max: at least BITMAP_RUNS_MIN (a smaller one finds nothing). */
#define BITMAP_RUNS_MIN 2560u
struct bitmap_run {
    uint64_t first, end;
};
size_t bitmap_runs(const struct bitmap *b, uint64_t *pos, uint64_t end, struct bitmap_run *runs, size_t max);

/* Moves n words from src, where others set bits atomically, to dst, which is overwritten. Returns how many
 * were not zero. */
uint64_t bitmap_take_words_atomic(uint64_t *dst, uint64_t *src, uint64_t n);
/* Words of somebody else, seen as a bitmap; for reading only. */
static inline struct bitmap bitmap_view(const uint64_t *words, uint64_t nbits)
{
    return (struct bitmap){
        .words = (uint64_t *)words, .nbits = nbits, .nwords = div_round_up(nbits, BITMAP_WORD_BITS)};
}

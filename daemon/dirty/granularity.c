/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty/granularity.h"
#include "base/bitmap.h"

/* So many whole blocks, and none in part, are no accident. */
#define PLAIN_BLOCKS_MIN 8

static const uint64_t levels[GRANULARITY_LEVELS] = {UINT64_C(2) << 20, UINT64_C(1) << 30};

/* Largest entry that can lie in the mapping; 0: 4 KiB. */
static uint64_t largest_entry(const struct iova_mapping *m)
{
    uint64_t best = 0, at = m->region->offset_bytes + m->offset_bytes;
    for (unsigned l = 0; l < GRANULARITY_LEVELS; l++) {
        uint64_t lead = -m->iova & (levels[l] - 1);
        if (m->region->file_page_bytes >= levels[l] && m->iova % levels[l] == at % levels[l] &&
            lead < m->size_bytes && m->size_bytes - lead >= levels[l])
            best = levels[l];
    }
    return best;
}

void granularity_expect(struct granularity *g, const struct iova_mapping *m)
{
    g->expected_bytes = MAX(g->expected_bytes, largest_entry(m));
}

/* One run of written pages, [from, to) in bytes of IOVA inside [start, end). A block that the mapping cuts
 * says nothing. */
static void note_run(struct granularity_seen *s, unsigned level, uint64_t from, uint64_t to, uint64_t start,
                     uint64_t end)
{
    uint64_t size = levels[level], first = align_up(from, size), last = to - to % size;
    if (last > first)
        s->whole[level] += (last - first) / size;
    bool cut_before = from == start, cut_behind = to == end;
    if ((from % size && !cut_before) || (to % size && !cut_behind))
        s->finer[level] = true;
}

void granularity_note(struct granularity *g, const struct iova_mapping *m, const uint64_t *words,
                      uint64_t nbits)
{
    struct granularity_seen *s = largest_entry(m) ? &g->huge : &g->plain;
    const struct bitmap bits = bitmap_view(words, nbits);
    if (s->finer[0]) /* and so are all larger ones */
        return;
    bitmap_for_each_run (&bits, first, count) {
        uint64_t from = m->iova + first * REGION_PAGE_SIZE, to = from + count * REGION_PAGE_SIZE;
        for (unsigned l = 0; l < GRANULARITY_LEVELS; l++)
            note_run(s, l, from, to, m->iova, m->iova + nbits * REGION_PAGE_SIZE);
    }
}

uint64_t granularity_bytes(const struct granularity *g)
{
    uint64_t huge = REGION_PAGE_SIZE, plain = REGION_PAGE_SIZE;
    for (unsigned l = 0; l < GRANULARITY_LEVELS && levels[l] <= g->expected_bytes && !g->huge.finer[l]; l++)
        huge = levels[l];
    if (g->plain.whole[0] >= PLAIN_BLOCKS_MIN && !g->plain.finer[0])
        plain = levels[0];
    return MAX(huge, plain);
}

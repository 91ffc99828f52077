/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dirty/digest-sweep.h"
#include "base/progress.h"
#include "memory/pages.h"

#define BATCH_PAGES 1024u

void digest_sweep(struct region *r, uint64_t first, uint64_t count, struct dirty_sink *sink)
{
    uint64_t now[BATCH_PAGES], end = first + count;
    if (!r->sent_digests) {
        dirty_sink_range(sink, r, first, count);
        return;
    }
    for (uint64_t n; first < end; first += n) {
        uint64_t words[BATCH_PAGES / 64] = {0}, found = 0;
        n = MIN(end - first, (uint64_t)BATCH_PAGES);
        pages_digest(r, first, n, now);
        for (uint64_t i = 0; i < n; i++)
            if (now[i] != r->sent_digests[first + i]) {
                words[i / 64] |= UINT64_C(1) << (i % 64);
                found++;
            }
        if (found)
            dirty_sink_words(sink, r, first, words, n);
        progress_beat();
    }
}

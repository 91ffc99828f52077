/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much memory one dirty bit of an IOMMU stands for (R8): as much as its page-table entry, whose size
 * nobody tells. Memory on huge pages is expected to be mapped in entries of that size, until a report that is
 * finer shows that it is not; other memory may be, which reports show that are never finer. Worker thread.
 */
#pragma once
#include "memory/iova-map.h"

enum { GRANULARITY_LEVELS = 2 }; /* 2 MiB, 1 GiB */

struct granularity {
    uint64_t expected_bytes; /* of memory on huge pages; 0: none */
    struct granularity_seen {
        uint64_t whole[GRANULARITY_LEVELS]; /* blocks of that size that were reported whole */
        bool finer[GRANULARITY_LEVELS];     /* one was reported in part */
    } huge, plain;
};

/* A mapping that the IOMMU may have entered in the largest pieces that its memory, IOVA and offset allow. */
void granularity_expect(struct granularity *g, const struct iova_mapping *m);
/* A report: bit n of words is the 4 KiB page at m->iova + n * 4096. */
void granularity_note(struct granularity *g, const struct iova_mapping *m, const uint64_t *words,
                      uint64_t nbits);
/* The coarsest that fits what was seen. */
uint64_t granularity_bytes(const struct granularity *g);

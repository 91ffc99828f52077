/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device state that was sent and that the destination has not taken yet, as far as it knows: a copy. A device
 * hands out each byte of its state once, so what a broken connection swallowed can come from nowhere else.
 * Used by one thread at a time.
 */
#pragma once
#include "base/util.h"

#define STATE_KEEP_MAX_BYTES (16u << 20)

struct state_chunk {
    struct state_chunk *next;
    uint32_t index;  /* of the device */
    uint64_t offset; /* in its stream */
    size_t size;
    uint8_t bytes[];
};
struct state_keep {
    struct state_chunk *first, **last; /* NULL, NULL: empty */
    uint64_t bytes;
};

int state_keep_add(struct state_keep *k, uint32_t index, uint64_t offset, const void *bytes, size_t size);
/* The destination has taken so many bytes of the stream. */
void state_keep_taken(struct state_keep *k, uint32_t index, uint64_t bytes);
void state_keep_clear(struct state_keep *k);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes the state stream, piece by piece as it is read; noise is computed, never stored. Server thread only.
 */
#pragma once
#include "state-format.h"
#include <xxhash.h>

#define SAVE_QUEUE_MAX 8u

struct state_save {
    struct {
        struct section head;
        uint8_t *payload; /* NULL: noise */
    } queue[SAVE_QUEUE_MAX];
    unsigned n;
    uint64_t position; /* in the first section of the queue, header and trailer included */
    uint64_t number;   /* of the next section */
    uint64_t checksum; /* of the first section, when its payload has been read */
    uint64_t noise;    /* generator of the first section */
    uint64_t produced; /* bytes read in all */
    XXH3_state_t *hash;
};

/* Starts a stream, empty. */
int state_save_begin(struct state_save *s);
void state_save_end(struct state_save *s);
/* Queues a section; payload is copied, NULL makes noise. */
int state_save_add(struct state_save *s, enum section_type type, const void *payload, uint64_t payload_bytes);
/* Up to size bytes; 0: nothing is queued. */
size_t state_save_read(struct state_save *s, uint8_t *buf, size_t size);

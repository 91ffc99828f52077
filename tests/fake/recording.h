/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A recorded dialogue between two migd, frame by frame (tests/recorded/README.md), and how a frame of today
 * is held against a recorded one.
 */
#pragma once
#include "migd-wire.h"
#include <stdbool.h>
#include <stddef.h>

struct recorded_frame {
    unsigned connection; /* in the order in which the source opened them */
    bool back;           /* from the destination */
    struct wire_header header;
    uint8_t *raw, *payload; /* header and payload as they were sent; payload alone */
    size_t raw_bytes, payload_bytes;
};
struct recording {
    uint8_t *data;
    size_t size;
    struct recorded_frame *frames;
    size_t nframes;
};

/* 0 or -errno; -EPROTO: it is not made of frames. */
int recording_load(struct recording *ret, const char *path);
void recording_clear(struct recording *r);
/* The word of a MESSAGE; "" for other frames. Valid until the next call. */
const char *recorded_word(const struct recorded_frame *f);

/* Whether somebody who knows only what the recorded frame says understands the other, of the same place in
 * the dialogue, as saying the same: the header and every key and value but names, times and sizes of this
 * run. Keys that are new do no harm. *ret_why says what is not the same. exact: also the payload of frames
 * without JSON. */
bool frame_says_the_same(const struct recorded_frame *recorded, const struct wire_header *header,
                         const uint8_t *payload, bool exact, const char **ret_why);

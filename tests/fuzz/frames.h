/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the targets that take frames share: an input becomes a stream of frames. Checksums would keep a fuzzer
 * at the door, so each header gets its magic, version, sequence and checksum right unless the choice is
 * otherwise.
 */
#pragma once
#include "memory-channel.h"
#include "transport/frame.h"

#define CHOICE_RAW          1u  /* the bytes as they are */
#define CHOICE_MESSAGES     2u  /* fuzz-frames: a control connection */
#define CHOICE_SUMS         4u  /* payload checksums are made right, too */
#define CHOICE_ACKNOWLEDGED 8u  /* fuzz-state: the destination says what it has taken */
#define CHOICE_PARTS        16u /* fuzz-state: the second half comes over another connection */
#define CHOICE_STATE        32u /* fuzz-acknowledgements: a state connection */
#define CHOICE_TLS          64u /* fuzz-greeting: this host takes TLS only */

#define INPUT_MAX_BYTES (96u << 10)

/* The first byte of data is the choice. Fills *channel and *stream, which borrow a static buffer that is
 * valid until the next call; returns the choice, or -1 for an input that is none. */
int frames_from_input(const uint8_t *data, size_t size, struct memory_channel *channel,
                      struct frame_stream *stream);
/* One frame of that type around the input, without a choice; right in all but its payload. */
int frame_around_input(const uint8_t *data, size_t size, unsigned type, struct memory_channel *channel,
                       struct frame_stream *stream);
/* A finding. */
_Noreturn void give_up(const char *why);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Codecs: memory pages made smaller for the wire. What is packed is at most CODEC_MAX_BYTES long, and whoever
 * unpacks knows the exact size beforehand, so nothing grows because a peer says so.
 *
 * A codec_state belongs to one thread, packs or unpacks, and keeps what the libraries want to keep from call
 * to call.
 */
#pragma once
#include "base/util.h"
#include "migd-wire.h"
#include <stdint.h>

#define CODEC_MAX_BYTES ((size_t)WIRE_PACKED_MAX_BYTES)

/* The numbers are those of the wire. */
enum codec { CODEC_NONE, CODEC_LZ4, CODEC_ZSTD, CODEC_MAX };

/* "none", "lz4", "zstd"; never NULL. */
const char *codec_to_string(enum codec c);
/* -EINVAL for a word that is none of these. */
int codec_from_string(const char *word, enum codec *ret);

struct codec_state;
int codec_state_new(struct codec_state **ret);
struct codec_state *codec_state_free(struct codec_state *s);
DEFINE_CLEANUP(struct codec_state *, codec_state_free)

/* src must not change meanwhile: guest memory is to be copied first. *ret: bytes at dst. -E2BIG: it does not
 * fit into room, which is how the caller says what it still calls smaller. */
int codec_pack(struct codec_state *s, enum codec c, const void *src, size_t size, void *dst, size_t room,
               size_t *ret);
/* Exactly size bytes at dst, or -EBADMSG; nothing beyond them is ever written. */
int codec_unpack(struct codec_state *s, enum codec c, const void *src, size_t packed_size, void *dst,
                 size_t size);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What went out on one page connection and is not known to be in place at the destination: the extents of
 * each frame under its sequence number, oldest first.
 *
 * The pages are noted here before the frame is sent, and leave when the destination says how many frames it
 * has applied. What is still here when the connection breaks is dirty again; no more and no less. Memory is
 * bounded: whoever finds no room waits for the destination's word. Used by the thread of the connection while
 * a round runs, by the worker between rounds.
 */
#pragma once
#include "memory/region.h"
#include "migd-wire.h"

#define FLIGHT_MAX_EXTENTS (128u << 10)

struct flight;
int flight_new(struct flight **ret);
struct flight *flight_free(struct flight *f);
DEFINE_CLEANUP(struct flight *, flight_free)

/* count extents of a frame that is about to be sent; sequences must grow. -ENOBUFS: wait until some were
 * applied. -ENOMEM. On failure nothing was noted. */
int flight_add(struct flight *f, uint64_t sequence, uint32_t region, const struct wire_extent *table,
               uint32_t count);
/* Every frame with a sequence below `frames` is in place. */
void flight_applied(struct flight *f, uint64_t frames);
/* Marks what is left as dirty and forgets it. Returns how many pages that is. */
uint64_t flight_put_back(struct flight *f, struct region *const *regions);
/* A fence came back: all of it is in place. */
void flight_clear(struct flight *f);

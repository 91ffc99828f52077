/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pages differ from what was last sent, by their digests. Worker thread.
 *
 * Why nothing is lost by it, although the guest writes at all times: the digest of a page is that of exactly
 * the bytes that went out (senders copy first), so it describes what the destination has. A page that is
 * equal to it when the workload stands still is equal at the destination, whatever it was in between: A, B
 * and A again is no change when A was sent, and one when B was. A page that is torn while it is read looks
 * different, or is looked at again.
 */
#pragma once
#include "dirty/tracker.h"

/* Of `count` pages from `first`. Without digests to compare with, all of them. */
void digest_sweep(struct region *r, uint64_t first, uint64_t count, struct dirty_sink *sink);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that is made present beside the transfer, a little ahead of what arrives. First touch of shared
 * memory is the slowest step of a full send, several times slower than receiving into memory that is there;
 * done by threads of their own it costs those that receive nothing.
 *
 * Theory of operation: a source sends each region from its beginning to its end, leaving out what is a hole
 * or zero there. What will come is guessed from what came: as much again as has come in one stretch, up to a
 * limit. What is missing in between counts against it, and a gap begins a new stretch, so that a sparse guest
 * does not become a dense one: what is made present for nothing is never more than what came just before it.
 * Whoever receives does not wait for these threads; where it is first it makes pages present by itself
 * (populate.h), and these go on ahead of it.
 *
 * Threads: populate_beside_came by any thread; the others by the one that owns it.
 */
#pragma once
#include "base/util.h"
#include "memory/region.h"

#define POPULATE_BESIDE_MAX_THREADS 4u

struct populate_beside;

/* How many threads are worth it on this host while so many connections receive: what the processors that this
 * process may use have left of load and connections. 0: none, on a host with few or busy processors, where
 * these threads would only take from those that receive. */
unsigned populate_beside_threads(size_t connections);
/* regions: borrowed, until it is freed. threads: 1 to POPULATE_BESIDE_MAX_THREADS. -ENOMEM, -EAGAIN: no
 * thread. */
int populate_beside_new(struct populate_beside **ret, struct region *const *regions, size_t nregions,
                        unsigned threads);
/* Ends and joins the threads. */
struct populate_beside *populate_beside_free(struct populate_beside *b);
DEFINE_CLEANUP(struct populate_beside *, populate_beside_free)
/* Pages are about to be received there; the range lies in the region. True: all of it was made present. */
bool populate_beside_came(struct populate_beside *b, size_t region, uint64_t offset_bytes,
                          uint64_t length_bytes);
uint64_t populate_beside_bytes(struct populate_beside *b); /* made present so far */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the device writes: one 64-byte record into its own slot of a page. The checker reads the same.
 *
 * The lower half of a page belongs to devices, 32 slots by device id, the upper half to CPU workloads; so
 * several devices and a workload can share every page, and each of them can be judged alone. A record names
 * its device, its place and its sequence number, so a page that came from the wrong place or the wrong time
 * is recognised.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define DEVICE_PAGE_BYTES 4096ull
#define RECORD_SLOTS      32u
#define RECORD_MAGIC      0x3152445f4d495344ull /* "DSIM_DR1" */

struct record {
    uint64_t magic;
    uint32_t device_id;
    uint32_t slot;
    uint64_t
        sequence;  /* +1 with every page that the device writes, going on after a migration; the first is 1 */
    uint64_t iova; /* of the page */
    uint64_t noise[3]; /* so that a page does not compress to nothing */
    uint64_t checksum; /* XXH3 of what stands before it */
};
_Static_assert(sizeof(struct record) == 64, "format");

static inline uint64_t record_offset(uint32_t device_id)
{
    return (uint64_t)(device_id % RECORD_SLOTS) * sizeof(struct record);
}
void record_fill(struct record *r, uint32_t device_id, uint64_t sequence, uint64_t iova);
/* Magic and checksum are right; says nothing about who and where. */
bool record_is_sound(const struct record *r);
/* A step of splitmix64: the one random generator of this program, so that a seed repeats a run. */
uint64_t random_next(uint64_t *state);

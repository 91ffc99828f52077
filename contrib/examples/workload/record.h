/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a CPU thread of the example writes: one 64-byte record into its own slot of a page. The lower half of
 * a page belongs to devices, the third quarter to CPU threads (16 slots), and the last quarter is written by
 * nobody after the fill, so that the check can also judge what was only ever sent once.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define GUEST_PAGE_BYTES   4096ull
#define RECORD_AREA_OFFSET 2048u
#define RECORD_SLOTS       16u
#define TAIL_OFFSET        3072u
#define TAIL_BYTES         (GUEST_PAGE_BYTES - TAIL_OFFSET)
#define CPU_RECORD_MAGIC   0x31524343474d4558ull

struct cpu_record {
    uint64_t magic;
    uint32_t thread;
    uint32_t reserved;
    uint64_t sequence; /* +1 with every write of this thread, going on after a migration; the first is 1 */
    uint64_t page;
    uint64_t noise[3]; /* so that a page does not compress to nothing */
    uint64_t checksum; /* XXH3 of what stands before it */
};
_Static_assert(sizeof(struct cpu_record) == 64, "format");
_Static_assert(RECORD_AREA_OFFSET + RECORD_SLOTS * sizeof(struct cpu_record) == TAIL_OFFSET, "format");

static inline uint64_t cpu_record_offset(uint64_t page, unsigned thread)
{
    return page * GUEST_PAGE_BYTES + RECORD_AREA_OFFSET + thread * sizeof(struct cpu_record);
}
void cpu_record_fill(struct cpu_record *r, unsigned thread, uint64_t sequence, uint64_t page);
/* Magic and checksum are right; says nothing about who and where. */
bool cpu_record_is_sound(const struct cpu_record *r);
/* Digest of the last quarter of a page; 0 when it is all zero. */
uint64_t tail_digest(const uint8_t *page);
/* A step of splitmix64. */
uint64_t random_step(uint64_t *state);

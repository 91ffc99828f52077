/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "record.h"
#include <stddef.h>
#include <xxhash.h>

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

void record_fill(struct record *r, uint32_t device_id, uint64_t sequence, uint64_t iova)
{
    uint64_t noise = sequence ^ (uint64_t)device_id << 48;
    *r = (struct record){
        .magic = RECORD_MAGIC,
        .device_id = device_id,
        .slot = device_id % RECORD_SLOTS,
        .sequence = sequence,
        .iova = iova,
    };
    for (unsigned i = 0; i < 3; i++)
        r->noise[i] = random_next(&noise);
    r->checksum = XXH3_64bits(r, offsetof(struct record, checksum));
}

bool record_is_sound(const struct record *r)
{
    return r->magic == RECORD_MAGIC && r->checksum == XXH3_64bits(r, offsetof(struct record, checksum));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "record.h"
#include <stddef.h>
#include <string.h>
#include <xxhash.h>

uint64_t random_step(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

void cpu_record_fill(struct cpu_record *r, unsigned thread, uint64_t sequence, uint64_t page)
{
    uint64_t seed = sequence * 31 + thread;
    *r = (struct cpu_record){.magic = CPU_RECORD_MAGIC, .thread = thread, .sequence = sequence, .page = page};
    for (unsigned i = 0; i < 3; i++)
        r->noise[i] = random_step(&seed);
    r->checksum = XXH3_64bits(r, offsetof(struct cpu_record, checksum));
}

bool cpu_record_is_sound(const struct cpu_record *r)
{
    return r->magic == CPU_RECORD_MAGIC &&
           r->checksum == XXH3_64bits(r, offsetof(struct cpu_record, checksum));
}

uint64_t tail_digest(const uint8_t *page)
{
    static const uint8_t zeros[TAIL_BYTES];
    if (!memcmp(page + TAIL_OFFSET, zeros, TAIL_BYTES))
        return 0;
    uint64_t digest = XXH3_64bits(page + TAIL_OFFSET, TAIL_BYTES);
    return digest ? digest : 1;
}

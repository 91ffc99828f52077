/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The example's journal: what each thread wrote last to each page, in a sparse file mapped shared, so that it
 * is whole the moment the process dies of kill -9. For tests and rehearsals; a real VMM has no such thing. 0
 * struct cpu_journal_header 4096   u64 per page: digest of the part that only the fill wrote, 0 for zeros
 *   then   per thread u64 per page: newest sequence number, 0: never written
 */
#pragma once
#include "record.h"
#include <stdbool.h>

#define CPU_JOURNAL_MAGIC 0x314c4e4a53555043ull

struct cpu_journal_header {
    uint64_t magic, pages;
    uint32_t threads, filled; /* filled: the digests are there */
    struct {
        uint64_t first;   /* sequence number that this process was to write first; 0: it never ran */
        uint64_t started; /* begun to be written */
        uint64_t done;    /* in memory, in the dirty log and in the journal */
    } thread[RECORD_SLOTS];
};
_Static_assert(sizeof(struct cpu_journal_header) <= 4096, "format");

struct cpu_journal {
    struct cpu_journal_header *header; /* NULL: none is kept */
    uint64_t *tails;
    uint64_t *sequences; /* [thread * pages + page] */
    uint64_t bytes;
};

int cpu_journal_create(struct cpu_journal *j, const char *path, uint64_t pages, unsigned threads);
int cpu_journal_view(struct cpu_journal *j, const char *path);
/* A state was loaded: what this process wrote before is gone from memory. */
void cpu_journal_restart(struct cpu_journal *j);
void cpu_journal_close(struct cpu_journal *j);

static inline uint64_t *cpu_journal_entry(const struct cpu_journal *j, unsigned thread, uint64_t page)
{
    return &j->sequences[thread * j->header->pages + page];
}

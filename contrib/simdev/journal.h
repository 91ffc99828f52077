/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal: which sequence number was the newest that this process wrote to each page.
 *
 * A sparse file, mapped shared, so that it is complete the moment a process dies of kill -9:
 *   0          struct journal_header
 *   4096       struct journal_area[], append only
 *   1 MiB      8 bytes per page, area after area; 0: never written
 * Areas are made of whole 2 MiB pieces of IOVA space (one page of file each), are added when the client maps
 * something new and never go away. Other memory at the same addresses (a vIOMMU guest unmaps and maps) has
 * its own. The server thread adds areas while the engine is parked; the engine writes entries.
 */
#pragma once
#include "base/error.h"

#define JOURNAL_MAGIC        0x314c4e4a4d495344ull /* "DSIMJNL1" */
#define JOURNAL_TABLE_OFFSET 4096ull
#define JOURNAL_DATA_OFFSET  (1ull << 20)
#define JOURNAL_CHUNK_BYTES  (2ull << 20)

struct journal_area {
    uint64_t iova, pages;
    uint64_t file_offset; /* of the entries */
    uint64_t shift;       /* offset in the mapped file minus IOVA: which memory was behind the addresses */
};
#define JOURNAL_AREAS_MAX ((JOURNAL_DATA_OFFSET - JOURNAL_TABLE_OFFSET) / sizeof(struct journal_area))

struct journal_header {
    uint64_t magic;
    uint32_t device_id;
    uint32_t pid;
    uint64_t n_areas;
    uint64_t first; /* sequence number that this process wrote first, 0: none yet */
    uint64_t last;
};

struct journal {
    int fd;
    struct journal_header *header; /* header and table; NULL: no journal is kept */
    struct journal_area *table;
    uint64_t **entries; /* per area */
    uint64_t end;       /* of the file */
};

/* Creates the file, or makes it empty. */
int journal_create(struct journal *j, const char *path, uint32_t device_id, struct mig_error *err);
void journal_close(struct journal *j);
/* Makes room for the pages of [iova, iova + size); shift: see journal_area. */
int journal_cover(struct journal *j, uint64_t iova, uint64_t size, uint64_t shift);
/* The entry of the page at iova, and how many more pages follow in one piece; NULL without journal or room.
 */
uint64_t *journal_entry(const struct journal *j, uint64_t iova, uint64_t shift, uint64_t *ret_pages);
/* Another life begins: a state was loaded, and what this process wrote before is gone from memory. */
void journal_restart(struct journal *j);
/* After the page was written: entry from journal_entry(), may be NULL. */
static inline void journal_note(struct journal *j, uint64_t *entry, uint64_t sequence)
{
    if (!j->header)
        return;
    if (entry)
        __atomic_store_n(entry, sequence, __ATOMIC_RELAXED);
    if (!j->header->first)
        j->header->first = sequence;
    __atomic_store_n(&j->header->last, sequence, __ATOMIC_RELEASE);
}

/* Somebody's finished journal, to be read. */
struct journal_view {
    const uint8_t *data;
    size_t size;
    const struct journal_header *header;
    const struct journal_area *areas;
    uint64_t n_areas;
};
int journal_view_open(struct journal_view *v, const char *path, struct mig_error *err);
void journal_view_close(struct journal_view *v);
/* The newest sequence number of the page at iova, 0 when it never wrote there. shift: only where this memory
 * was behind it, NULL: whichever was. */
uint64_t journal_view_newest(const struct journal_view *v, uint64_t iova, const uint64_t *shift);

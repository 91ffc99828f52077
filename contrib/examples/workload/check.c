/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "check.h"
#include "journal.h"
#include "memory.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 10u

struct check {
    struct guest_memory memory;
    struct cpu_journal journal, source; /* source: header NULL when there is none */
    uint64_t judged, bad, tails, bad_tails;
};

static void show(struct check *c, uint64_t page, unsigned thread, const char *what, uint64_t found,
                 uint64_t expected)
{
    if (c->bad++ < SHOWN_MAX)
        printf("page %" PRIu64 " (offset 0x%" PRIx64 "), thread %u: %s (record %" PRIu64 ", expected %" PRIu64
               ")\n",
               page, (uint64_t)(page * GUEST_PAGE_BYTES), thread, what, found, expected);
}

/* A writer that was killed may have had one record under way, which is in memory or not and in the journal or
 * not. */
static bool under_way(const struct cpu_journal *j, unsigned thread, uint64_t sequence)
{
    return j->header && j->header->thread[thread].started == sequence &&
           j->header->thread[thread].done != sequence;
}

static void check_record(struct check *c, uint64_t page, unsigned thread)
{
    uint64_t expected = *cpu_journal_entry(&c->journal, thread, page);
    const char *stale = "an older record: a write was lost";
    struct cpu_record r;

    if (!expected && c->source.header)
        expected = *cpu_journal_entry(&c->source, thread, page);
    memcpy(&r, c->memory.base + cpu_record_offset(page, thread), sizeof r);
    bool sound = cpu_record_is_sound(&r);
    c->judged += expected != 0;
    if (!expected && !sound)
        return;
    if (!sound) {
        show(c, page, thread, r.magic == CPU_RECORD_MAGIC ? "a torn record" : "no record: a write was lost",
             0, expected);
        return;
    }
    if (r.page != page || r.thread != thread)
        show(c, page, thread, "a record of another place", r.sequence, expected);
    else if (r.sequence != expected && !under_way(&c->journal, thread, r.sequence) &&
             !under_way(&c->source, thread, r.sequence))
        show(c, page, thread, r.sequence < expected ? stale : "a record that nobody should have written",
             r.sequence, expected);
}

static int check_sequences(struct check *c)
{
    int bad = 0;
    for (unsigned t = 0; c->source.header && t < c->journal.header->threads; t++) {
        uint64_t first = c->journal.header->thread[t].first, last = c->source.header->thread[t].done;
        if (first && first != last + 1) {
            printf("thread %u: the source's last write is %" PRIu64 ", the destination began with %" PRIu64
                   "\n",
                   t, last, first);
            bad = 1;
        }
    }
    return bad;
}

int check_run(const struct options *o)
{
    struct check c = {.memory.fd = -1};
    const struct cpu_journal *filler;
    int r;

    if ((r = cpu_journal_view(&c.journal, o->journal)) < 0 ||
        (o->source_journal && (r = cpu_journal_view(&c.source, o->source_journal)) < 0) ||
        (r = guest_memory_view(&c.memory, o->memory_path, o->offset, o->size)) < 0)
        goto out;
    const struct cpu_journal_header *h = c.journal.header, *s = c.source.header;
    if (c.memory.size != h->pages * GUEST_PAGE_BYTES ||
        (s && (s->pages != h->pages || s->threads != h->threads))) {
        fprintf(stderr, "Memory and journals are not of the same size.\n");
        r = -EINVAL;
        goto out;
    }
    for (uint64_t page = 0; page < h->pages; page++)
        for (unsigned t = 0; t < h->threads; t++)
            check_record(&c, page, t);
    filler = s ? &c.source : &c.journal;
    for (uint64_t page = 0; filler->header->filled && page < h->pages; page++) {
        c.tails++;
        if (tail_digest(c.memory.base + page * GUEST_PAGE_BYTES) == filler->tails[page])
            continue;
        if (c.bad_tails++ < SHOWN_MAX)
            printf("page %" PRIu64 ": what the fill wrote is not there\n", page);
    }
    int broken = check_sequences(&c);
    r = broken;
    if (c.bad || c.bad_tails)
        r = 1;
    printf("%s: %" PRIu64 " records judged, %" PRIu64 " wrong; %" PRIu64
           " pages of file content judged, %" PRIu64 " wrong; sequences %s\n",
           r ? "BAD" : "OK", c.judged, c.bad, c.tails, c.bad_tails, broken ? "broken" : "unbroken");
out:
    cpu_journal_close(&c.journal);
    cpu_journal_close(&c.source);
    guest_memory_close(&c.memory);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A log of CPU writes that migd reads: a bitmap in shared memory, bit n for page n of the region, in words of
 * 64 bits. The order is what makes it right: a bit is set after its page was written, with an atomic or; migd
 * takes the bits with an atomic exchange and then reads the pages. A write that migd's copy missed has its
 * bit set after that exchange, so the next harvest finds it. A bit may come late, but not later than the
 * answer to Pause. Any thread.
 */
#pragma once
#include <stdint.h>

struct cpu_log {
    int fd;
    char path[256]; /* from which another process (as root) can open it */
    uint64_t bytes;
    uint64_t *words; /* NULL: none is kept */
};

/* path NULL: a memfd. Prints why it failed. */
int cpu_log_create(struct cpu_log *log, const char *path, uint64_t pages);
/* After the write to the page. */
static inline void cpu_log_mark(struct cpu_log *log, uint64_t page)
{
    if (log->words)
        __atomic_fetch_or(&log->words[page / 64], UINT64_C(1) << (page % 64), __ATOMIC_SEQ_CST);
}
/* 64 pages at once, beginning with page word * 64. */
static inline void cpu_log_mark_word(struct cpu_log *log, uint64_t word, uint64_t bits)
{
    if (bits)
        __atomic_fetch_or(&log->words[word], bits, __ATOMIC_SEQ_CST);
}
void cpu_log_close(struct cpu_log *log);

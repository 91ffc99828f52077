/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How migd learns what the CPUs of this VMM wrote. Two ways; a VMM needs one of them.
 *
 * cpu-log: a bitmap in a memfd, bit n for page n of the memory. The order is what makes it right: the VMM
 * writes the page and then sets the bit, atomically; migd takes the bits with an atomic exchange and then
 * reads the pages. A write that migd's copy missed has its bit set after that exchange, so the next harvest
 * finds it.
 *
 * uffd: a userfaultfd with asynchronous write protection, made by this process because it speaks for the
 * memory of its maker. migd gets the descriptor, write-protects and reads the page tables; the CPU threads
 * have nothing to do.
 */
#pragma once
#include <stdint.h>

enum track_kind { TRACK_NONE, TRACK_CPU_LOG, TRACK_UFFD };

struct cpu_log {
    int fd;
    char path[256];
    uint64_t bytes;
    uint64_t *words; /* NULL: none is kept */
};

/* path NULL: a memfd. */
int cpu_log_create(struct cpu_log *log, const char *path, uint64_t pages);
/* After the write to the page. */
static inline void cpu_log_mark(struct cpu_log *log, uint64_t page)
{
    if (log->words)
        __atomic_fetch_or(&log->words[page / 64], UINT64_C(1) << (page % 64), __ATOMIC_SEQ_CST);
}
void cpu_log_close(struct cpu_log *log);

/* The descriptor, or a negative errno with the reason printed. */
int uffd_create(void);

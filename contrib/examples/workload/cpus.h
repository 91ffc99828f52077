/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The "vCPUs": threads that write guest memory at a chosen rate. Everything here is called on the main
 * thread; the threads write their own slots only. What always holds: after cpus_pause() has returned, no
 * thread writes memory, log or journal until cpus_resume().
 */
#pragma once
#include "journal.h"
#include "memory.h"
#include "../common/cpu-log.h"
#include <pthread.h>

struct cpus;
struct cpu {
    struct cpus *cpus;
    pthread_t thread;
    unsigned index;
    uint64_t next;   /* sequence number of the next write */
    uint64_t random; /* state of the generator that chooses pages */
    _Atomic uint64_t writes;
};

struct cpus {
    struct guest_memory *memory;
    struct cpu_log *log;
    struct cpu_journal *journal;
    uint64_t span_pages; /* they write the first so many pages */
    uint64_t rate;       /* pages per second of all threads together; 0: they write nothing */
    unsigned count;
    struct cpu cpu[RECORD_SLOTS];

    pthread_mutex_t lock;
    pthread_cond_t go, stood;
    bool started, run, quit;
    unsigned standing;
};

/* What is carried to the other side. Integers of the host; both sides run the same program. */
#define CPUS_STATE_MAGIC 0x3153555043444d45ull
struct cpus_state {
    uint64_t magic, memory_bytes, total_writes;
    uint32_t count, reserved;
    struct {
        uint64_t next, random, writes;
    } cpu[RECORD_SLOTS];
};

void cpus_init(struct cpus *c, uint64_t seed);
/* Starts the threads at the first call. */
int cpus_resume(struct cpus *c);
void cpus_pause(struct cpus *c);
bool cpus_running(const struct cpus *c);
uint64_t cpus_writes(const struct cpus *c);
/* Both only while paused. */
void cpus_save(const struct cpus *c, struct cpus_state *s);
int cpus_load(struct cpus *c, const struct cpus_state *s);
void cpus_quit(struct cpus *c);

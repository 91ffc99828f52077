/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's dirty log, passed on to migd. KVM tells it to nobody but the process that made the VM, and only when
 * asked; migd reads the cpu-log whenever it likes. So the VMM pulls: every few milliseconds, so that the
 * rounds have something to find, and once more when the vCPU stands still, so that the last read finds
 * everything.
 *
 * A bit may stay in KVM's log for a while: then a later harvest finds it. What must not happen is that migd
 * takes a bit, reads the page, and a write that came after is marked nowhere.
 *
 * The log is on between StartLog and StopLog: it costs the guest a fault for each page after each pull, and
 * KVM its large mappings. Main thread.
 */
#pragma once
#include "../common/cpu-log.h"
#include "vm.h"

struct dirty_log {
    const struct vm *vm;
    struct cpu_log *to;
    const struct guest_memory *memory;
    uint64_t pages;
    bool on;
    uint64_t *words;   /* what KVM answered last */
    uint64_t reported; /* pages so far */
    bool lose;         /* for a test that must fail: what KVM says is thrown away */
};

int dirty_log_init(struct dirty_log *log, const struct vm *vm, struct cpu_log *to,
                   const struct guest_memory *memory);
/* From the return of start on every write of the guest is in KVM's log. Both may come twice. 0 or -errno. */
int dirty_log_start(struct dirty_log *log);
int dirty_log_stop(struct dirty_log *log);
/* Nothing when it is off. 0 or -errno, printed. */
int dirty_log_pull(struct dirty_log *log);
void dirty_log_close(struct dirty_log *log);

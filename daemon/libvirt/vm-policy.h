/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What QEMU's own migration is told when it does not come to an end by itself. Fed with the figures of its
 * job, it takes each of QEMU's passes over memory for a round and asks the same question as migd's own engine
 * (outgoing/convergence.h). A pure function of what it was fed with.
 */
#pragma once
#include "libvirt/vm-stats.h"
#include "outgoing/convergence.h"

#define VM_ROUNDS_MAX 64u
/* QEMU decides by its own estimate of the bandwidth: when it goes on for so many rounds in which ours says
 * that what is left fits, then it does not fit. */
#define VM_DISAGREE_MAX 6u

struct vm_policy {
    struct convergence_round rounds[VM_ROUNDS_MAX]; /* oldest first */
    size_t nrounds;
    unsigned passes;                                 /* that have ended, all of them */
    unsigned disagreed;                              /* in a row */
    uint64_t iteration, began_usec, processed_bytes; /* when the pass that runs began */
};

struct vm_round {
    struct convergence_round round;
    struct convergence_result result;
    bool stalled;
};

/* True when a pass has ended since the last time. cap: bytes per second, 0: none. */
bool vm_policy_feed(struct vm_policy *p, const struct vm_figures *f, uint64_t now_usec,
                    uint64_t max_downtime_usec, uint64_t cap, struct vm_round *ret);

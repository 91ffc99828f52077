/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-policy.h"
#include <string.h>

static void remember(struct vm_policy *p, const struct convergence_round *r)
{
    if (p->nrounds == VM_ROUNDS_MAX) { /* the oldest half is no longer of interest to any decision */
        memmove(p->rounds, p->rounds + VM_ROUNDS_MAX / 2, VM_ROUNDS_MAX / 2 * sizeof *p->rounds);
        p->nrounds = VM_ROUNDS_MAX / 2;
    }
    p->rounds[p->nrounds++] = *r;
}

bool vm_policy_feed(struct vm_policy *p, const struct vm_figures *f, uint64_t now_usec,
                    uint64_t max_downtime_usec, uint64_t cap, struct vm_round *ret)
{
    bool first = p->iteration == 0;
    if (!f->active || f->iteration <= p->iteration)
        return false;
    uint64_t spent_usec = now_usec - p->began_usec, sent = f->processed_bytes - p->processed_bytes;
    p->iteration = f->iteration;
    p->began_usec = now_usec;
    p->processed_bytes = f->processed_bytes;
    if (first)
        return false;
    struct convergence_round round = {.sent_bytes = sent,
                                      .duration_usec = MAX(spent_usec, UINT64_C(1)),
                                      .dirty_bytes = f->remaining_bytes,
                                      .dirty_interval_usec = MAX(spent_usec, UINT64_C(1))};
    remember(p, &round);
    p->passes++;
    const struct convergence_input in = {.rounds = p->rounds,
                                         .nrounds = p->nrounds,
                                         .max_downtime_usec = max_downtime_usec,
                                         .bandwidth_cap = cap};
    *ret = (struct vm_round){.round = round};
    convergence_decide(&in, &ret->result);
    p->disagreed = ret->result.decision == CONVERGENCE_SWITCH_OVER ? p->disagreed + 1 : 0;
    ret->stalled = ret->result.decision == CONVERGENCE_STALLED || p->disagreed > VM_DISAGREE_MAX;
    return true;
}

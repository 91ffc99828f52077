/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migration that libvirt makes: everything its worker has in its hands. The call itself
 * (virDomainMigrateToURI3) blocks until the end and has a thread of its own; the worker watches the job, sets
 * what the operator changes, applies the policy and aborts.
 *
 * vm-job.c is the course, vm-watch.c what is done while it runs, vm-outcome.c who runs the guest afterwards
 * and lets it run, by the table of vm-sides.h.
 */
#pragma once
#include "libvirt/hook.h"
#include "libvirt/vm-call.h"
#include "libvirt/vm-policy.h"
#include "libvirt/vm-process.h"
#include "libvirt/vm-there.h"

struct vm_news;

struct vm_job {
    struct migration *migration; /* borrowed: it owns us; NULL: vm-carry.c asks for the outcome only */
    struct vm_plan plan;
    struct hook *hook; /* borrowed; NULL: none */
    const char *runtime_dir;
    int cancel_fd;
    bool taken_up; /* a daemon before us asked libvirt for it, and libvirt goes on */
    bool leaves;   /* atomic: migd ends, and leaves to the next one what is not known yet */

    struct virt_link *link;
    virDomainPtr domain;
    struct vm_news *news; /* what libvirt tells on the main thread */

    struct vm_there there;
    struct vm_process process; /* the QEMU here */
    uint64_t resumed_usec;     /* when it was let run there; 0: not by us */
    bool moved;                /* the call said so */
    struct vm_call call;

    /* What is watched. */
    struct vm_figures figures;
    struct vm_policy policy;
    uint64_t began_usec;
    uint64_t bandwidth_mib, max_downtime_msec; /* as they were set last */
    bool forced, aborting;
    unsigned unanswered; /* questions for figures, in a row */
    uint64_t force_usec, abort_tried_usec;
    struct mig_error stop; /* why it is being aborted */

    /* How it ended, for the main thread. */
    enum mig_state state;
    struct mig_error error;
};

/* On the worker. */
void vm_job_run(struct vm_job *j);

/* vm-watch.c: until the call has returned, or the job that was taken up is over. */
void vm_watch(struct vm_job *j);

/* vm-outcome.c: not while its hook runs: libvirt would wait for the hook. */
bool vm_may_ask(struct vm_job *j);
enum vm_place { VM_HERE, VM_THERE, VM_NOWHERE, VM_UNKNOWN };
/* vm-outcome.c: asks both libvirts until exactly one runs the guest, or neither has it, and does what it
 * needs for that; or until the time is over. Fills what and a hint where something is not known, or left to
 * do. */
enum vm_place vm_outcome(struct vm_job *j, struct mig_error *what);
/* The QEMU here has ended. Lets the guest run there if all of it is there, as soon as can be. */
void vm_hand_over(struct vm_job *j);

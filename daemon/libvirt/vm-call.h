/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The call by which libvirt moves a domain (virDomainMigrateToURI3). It blocks until the end and has a thread
 * of its own, and a connection of its own: where two threads share one, libvirt 9.0 can lose the wake-up
 * of the thread that waits for an answer, and a question is not sent before the next keepalive.
 */
#pragma once
#include "libvirt/virt-link.h"
#include "libvirt/vm-plan.h"
#include <pthread.h>

struct vm_call {
    const struct vm_plan *plan; /* borrowed */
    struct virt_link *link;
    virDomainPtr domain;
    pthread_t thread;
    bool started;
    int end_fd; /* readable when it has returned; result and error are there then */
    int result;
    struct mig_error error;
};

/* All zero before. Whatever it returns, vm_call_end is called for it. */
int vm_call_begin(struct vm_call *c, const struct vm_plan *plan, struct mig_error *err);
/* BLOCKS until it has returned: result and error may be looked at. One thread. */
void vm_call_wait(struct vm_call *c);
/* The same, and lets go what it had; result and error stay. */
void vm_call_end(struct vm_call *c);

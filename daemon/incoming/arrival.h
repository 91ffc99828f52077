/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An incoming migration as the main thread has it: the session, its worker, and what is done when it ends. */
#pragma once
#include "incoming/patience.h"
#include "incoming/session.h"
#include "loop/worker.h"

struct arrival;
struct arrival_setup {
    struct loop *loop;
    const char *runtime_dir;   /* borrowed */
    struct security *security; /* borrowed */
    /* Nothing can be attached to it any more. */
    void (*ended)(struct arrival *a, void *userdata);
    void *userdata;
};

struct arrival {
    struct arrival_setup setup;
    struct session session;
    struct worker *worker; /* NULL once it has ended */
    int cancel_fd;
    struct patience patience; /* the limits are the caller's, before arrival_start */
    struct loop_timer *looking;
};

/* Borrows the domain. The arrival goes with its migration, whose reference is the caller's until
 * arrival_start; a failed start takes both away, but leaves session.control and session.hello to the caller.
 */
int arrival_new(struct arrival **ret, const struct arrival_setup *setup, struct domain *d, const char *id,
                const char *peer, struct mig_error *err);
int arrival_start(struct arrival *a, struct mig_error *err);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a domain can be migrated, and at what price: looks at everything that a migration needs on this
 * side and writes findings. `migctl check` shows them, and `start` refuses because of the first error among
 * them: both go through the two functions here, so that whatever makes start refuse is found by check before.
 *
 * Facts are what this process knows; they are read on the main thread and never block. Asks go to devices,
 * trackers, the kernel and the VMM; they belong on a worker, for a domain that rests (check_may_ask) and that
 * has a job or is borrowed meanwhile. Nothing is changed, but that tracking is on for a moment.
 */
#pragma once
#include "base/finding.h"
#include "domain/domain.h"
#include "migration/options.h"

struct check_request { /* all borrowed */
    const struct migration_options *options;
    const char *runtime_dir;
    const char *listen_address;       /* of the peer listener; "" when it is off */
    const char *destination;          /* "": this side only */
    struct security *security;        /* NULL: plain */
    uint64_t bandwidth_bytes_per_sec; /* that a migration to this destination reached; 0: not known */
    uint64_t total_bytes_per_sec;     /* that all migrations together may take; 0: no cap */
};

/* What the options of a migration overrule. Before the first of the two below. */
void check_waive(struct findings *f, const struct migration_options *o);
/* Main thread. 0 or -ENOMEM: then findings are missing. */
int check_facts(struct domain *d, const struct check_request *q, struct findings *ret);
/* Whether the domain's parts may be asked: it runs here and nothing else is done with it. Main thread. */
bool check_may_ask(const struct domain *d);
/* BLOCKS. keep_tracking: trackers that could be started stay so, also when another could not; for a migration
 * that is about to start them. */
int check_asks(struct domain *d, const struct check_request *q, bool keep_tracking, struct findings *ret);
/* The first error as start's answer; 0 when there is none. */
int check_refusal(const struct findings *f, struct mig_error *err);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Outgoing migrations: the face towards the bus. Main thread. */
#pragma once
#include "check/check.h"
#include "domain/domain.h"
#include "migration/migration.h"
#include "migration/record.h"

struct outgoing_context { /* lives as long as the daemon; borrowed */
    struct loop *loop;
    const char *runtime_dir;      /* records */
    const char *decision_address; /* where a destination in doubt may ask; "" when the listener is off */
    struct security *security;    /* of connections; NULL: plain */
    struct ratelimit *total;      /* what all migrations together may take of the link; NULL: no cap */
    /* Main thread: bytes per second that a migration to this destination reached; 0: none did. May be NULL.
     */
    uint64_t (*known_bandwidth)(const char *destination, void *userdata);
    void *userdata;
};

/* Main thread: what a migration with these options asks of a check. Borrows all of them; destination "": this
 * side only. */
void outgoing_make_request(struct check_request *ret, const struct outgoing_context *context,
                           const char *destination, const struct migration_options *options);

/* Borrows the domain, starts the worker. The migration ends by itself; the domain is given back and its state
 * set when it does. */
int outgoing_start(struct migration **ret, const struct outgoing_context *context, struct domain *domain,
                   const char *destination, const struct migration_options *options,
                   const struct migration_observer *observer, struct mig_error *err);

/* For a record that a daemon before this one left (started, intent, committed): undoes what it began, or asks
 * the destination for the outcome. The domain is a restored one. */
int outgoing_recover(struct migration **ret, const struct outgoing_context *context, struct domain *domain,
                     const struct record *record, const struct migration_observer *observer,
                     struct mig_error *err);

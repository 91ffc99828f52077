/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The peer listener and incoming migrations: the face towards the rest of the daemon. Main thread. Also
 * answers the questions of peers in doubt from the records, and the checks of peers that think of a
 * migration.
 */
#pragma once
#include "domain/registry.h"
#include "incoming/patience.h"
#include "migration/migration.h"
#include "migration/record.h"

struct incoming;
struct channel;
struct frame_stream;
struct json_object;
struct security;
struct incoming_callbacks {
    /* A new incoming migration; the observer is set by the callee. */
    void (*started)(struct migration *m, void *userdata);
    /* A question about libvirt's guests, "fetch" or "receives"; takes channel and hello over. NULL: this
     * daemon does not know them. */
    void (*asked_of_guest)(struct channel *channel, const struct frame_stream *stream,
                           struct json_object *hello, void *userdata);
    void *userdata;
};

/* address: see channel_listen; NULL or "": no listener. fd: a listening socket given by the service manager,
 * or -1. */
int incoming_new(struct incoming **ret, struct loop *loop, struct registry *registry, const char *address,
                 int fd, const char *runtime_dir, const struct incoming_callbacks *callbacks,
                 struct mig_error *err);
struct incoming *incoming_free(struct incoming *i);
DEFINE_CLEANUP(struct incoming *, incoming_free)
/* Whether a source's operator may overrule what is found here; true at first. */
void incoming_set_accept_overrides(struct incoming *i, bool accept);
/* For migrations that begin from now on; none at first. */
void incoming_set_patience(struct incoming *i, const struct patience_limits *limits);
/* How connections are protected; borrowed. NULL, which it is at first: not at all. Before the loop runs. */
void incoming_set_security(struct incoming *i, struct security *security);
/* The address that the listener is bound to; "" when it is off. */
const char *incoming_address(const struct incoming *i);
/* For a record that a daemon before this one left: prepared (asks the source), accepted (runs). The domain is
 * a restored one, its devices hold the loaded state. */
int incoming_recover(struct incoming *i, struct domain *domain, const struct record *record,
                     struct mig_error *err);

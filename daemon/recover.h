/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a restarted daemon owes to the migrations of the daemon before it. Main thread, after the saved
 * domains have been restored. */
#pragma once
#include "incoming/incoming.h"
#include "outgoing/outgoing.h"

struct recovery {
    const struct outgoing_context *context;
    struct registry *registry;
    struct incoming *incoming;
    const struct migration_observer *observer;            /* for outgoing ones */
    void (*started)(struct migration *m, void *userdata); /* takes its own reference */
    void *userdata;
};
void recover_migrations(const struct recovery *r);

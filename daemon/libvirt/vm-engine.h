/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migrations that libvirt makes for migd (engine=libvirt): the face towards the bus. Main thread. */
#pragma once
#include "libvirt/vm-plan.h"
#include "migration/migration.h"

struct hook;

struct vm_context { /* lives as long as the daemon; borrowed */
    struct loop *loop;
    const char *runtime_dir; /* records */
    struct hook *hook;       /* NULL: none */
};

/* Starts the worker of a migration that was checked and planned (vm-check.h). It ends by itself. */
int vm_engine_start(struct migration **ret, const struct vm_context *context, const struct vm_plan *plan,
                    const struct migration_observer *observer, struct mig_error *err);

/* Takes up what a daemon before this one asked libvirt for: libvirt went on with it, or it is over. started
 * is told of each. */
void vm_engine_recover(const struct vm_context *context, const struct migration_observer *observer,
                       void (*started)(struct migration *m, void *userdata), void *userdata);

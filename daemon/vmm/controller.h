/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM behind a domain: pause it, resume it, carry its own state. Ops are called by workers and block at
 * most until their deadline; the dbus kind hands the call to the main thread, which owns the bus, and waits
 * for the answer.
 */
#pragma once
#include "base/error.h"
#include <string.h>

struct controller;
struct controller_ops {
    const char *kind; /* "none", "dbus", "qmp", "libvirt" */
    /* After a resume that failed at the destination it is certain that nothing of it runs there, also when a
     * daemon before this one has tried already. */
    bool resume_settles;
    int (*pause)(struct controller *c, uint64_t deadline_usec, struct mig_error *err);
    int (*resume)(struct controller *c, uint64_t deadline_usec, struct mig_error *err);
    /* The VMM's own state. *ret_fd: a memfd with the state from 0 to its end, owned by the caller; -1 when it
     * has none. */
    int (*save)(struct controller *c, uint64_t deadline_usec, int *ret_fd, struct mig_error *err);
    /* state_fd: a memfd as above, borrowed. */
    int (*load)(struct controller *c, int state_fd, uint64_t deadline_usec, struct mig_error *err);
    /* The VMM's log of what its CPUs write: from the answer to start_log on every write has its bit. 0 for a
     * VMM that has no such methods: its log is always on. Both idempotent. NULL for a kind without CPUs. */
    int (*start_log)(struct controller *c, uint64_t deadline_usec, struct mig_error *err);
    int (*stop_log)(struct controller *c, uint64_t deadline_usec, struct mig_error *err);
    /* Whether there is still somebody to resume; changes nothing. NULL for a kind that is always there. */
    int (*alive)(struct controller *c, uint64_t deadline_usec, struct mig_error *err);
    /* The workload runs elsewhere for good: what stands still here must never run again. May be NULL. */
    int (*depart)(struct controller *c, uint64_t deadline_usec, struct mig_error *err);
    void (*destroy)(struct controller *c);
};
struct controller {
    const struct controller_ops *ops;
    unsigned refs; /* atomic */
    bool arrives;  /* while resume is called at a destination: what is to run came from another host */
};
struct controller *controller_ref(struct controller *c);
struct controller *controller_unref(struct controller *c);
DEFINE_CLEANUP(struct controller *, controller_unref)

/* Whether the kind carries state of the VMM at all; what it saves may still be empty. */
static inline bool controller_has_state(const struct controller *c)
{
    return c->ops->save && strcmp(c->ops->kind, "none") != 0;
}

#define CONTROLLER_STATE_MAX_BYTES (UINT64_C(1) << 30)

int controller_new_none(struct controller **ret, struct mig_error *err);
/* The dbus kind is in vmm/controller-dbus.h, since it needs the bus. */

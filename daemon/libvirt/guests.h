/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's guests as domains of migd. A guest whose QEMU has a monitor for migd is registered when it has
 * started, under libvirt's name, and released when it is gone, so that it can be checked and moved at any
 * time.
 *
 * A guest that arrives is registered while its QEMU waits and libvirt waits in its hook, which is the
 * barrier: the source's libvirt sends nothing before the hook returns. For a while (ArrivalWait=) a migd at
 * the source may begin to move the memory. When it does, the hook returns after that migration was decided
 * for this side, and QEMU's own stream brings only CPUs and devices. When nobody comes, the hook returns and
 * QEMU moves everything. Where NativePeers= says which hosts there are, they are asked (libvirt/fetch.h), and
 * nobody else is waited for. A guest that a migd has announced (libvirt/announced.h) is not moved whole: when
 * nobody comes for it, the hook fails.
 */
#pragma once
#include "domain/registry.h"
#include "libvirt/hook.h"
#include "loop/loop.h"

/* How domains come and go; main thread. */
struct guests_ops {
    /* Into the registry and to everybody's sight. */
    int (*add)(const char *name, bool incoming, struct domain **ret, void *userdata, struct mig_error *err);
    /* The opposite, of an idle domain. */
    void (*remove)(struct domain *d, void *userdata);
    /* Of a domain whose QEMU is gone: a migration that moves its memory all the same, and is not decided. */
    void (*end_migration)(struct domain *d, void *userdata);
    void *userdata;
    struct security *security; /* how other hosts are asked; borrowed */
};

struct security;
struct guests;
/* Hears of guests by the hook from now on. registry and hook are borrowed. */
int guests_new(struct guests **ret, struct loop *loop, struct registry *registry, struct hook *hook,
               const struct guests_ops *ops, struct mig_error *err);
/* No hook may be running; joins its helpers. Domains stay. */
struct guests *guests_free(struct guests *g);
DEFINE_CLEANUP(struct guests *, guests_free)
/* After the saved domains are back and what a daemon before this one left is taken up: guests that ended
 * while nobody could be told are released. */
void guests_release_gone(struct guests *g);
/* [Libvirt] ArrivalWait= and NativePeers=, for guests that arrive from now on. */
void guests_configure(struct guests *g, const struct config *config);

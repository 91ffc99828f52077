/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that libvirt moves, at its destination: looked at, let run and ended there by a connection of its
 * own. Every function blocks; one thread.
 */
#pragma once
#include "libvirt/virt-link.h"
#include "libvirt/vm-sides.h"

struct vm_there {
    const struct vm_plan *plan; /* borrowed; set before anything is called */
    struct virt_link *link;
    uint64_t tried_usec; /* when the connection was renewed last */
};

/* Before libvirt begins, so that letting the guest run costs one round trip. */
int vm_there_open(struct vm_there *t, struct mig_error *err);
/* Now and then while libvirt works: opens the connection anew if it broke. */
void vm_there_keep(struct vm_there *t);
void vm_there_close(struct vm_there *t);
/* Opens the connection (anew) if need be. err says why it is UNKNOWN. */
enum vm_there_state vm_there_look(struct vm_there *t, struct mig_error *err);
int vm_there_resume(struct vm_there *t, struct mig_error *err);
/* What stands still there, and a definition that came with it. Refuses what runs. */
int vm_there_end(struct vm_there *t, struct mig_error *err);

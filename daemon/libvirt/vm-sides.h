/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who runs a guest that libvirt moves, and what is to be done that exactly one host does: one table, asked
 * with what both libvirts say.
 *
 * libvirt leaves the guest standing still at the destination (VIR_MIGRATE_PAUSED), and migd lets it run
 * there. So there is one rule: the guest belongs to the source as long as its QEMU is there, and to the
 * destination from then on. Without that flag (what a migd before this one began) only libvirt starts it, and
 * migd only looks.
 */
#pragma once
#include "libvirt/vm-plan.h"

enum vm_here_state {
    VM_HERE_UNKNOWN,
    VM_HERE_BUSY, /* libvirt has not ended its job */
    VM_HERE_RUNS, /* or stands still as its user wants it */
    VM_HERE_LEFT, /* stands still, because the migration stopped it */
    VM_HERE_GONE, /* its QEMU has ended */
    VM_HERE_MAX,
};

enum vm_there_state {
    VM_THERE_UNKNOWN,
    VM_THERE_ARRIVES, /* not all of it is there */
    VM_THERE_READY,   /* all is there, and stands still as it should */
    VM_THERE_RUNS,    /* or has run */
    VM_THERE_DEFINED, /* gone but for a definition that this migration left */
    VM_THERE_GONE,
    VM_THERE_MAX,
};

enum vm_step {
    VM_WAIT,
    VM_RESUME_HERE,
    VM_RESUME_THERE,
    VM_END_THERE, /* what came there must not be started any more */
    VM_IS_HERE,
    VM_IS_THERE,
    VM_IS_NOWHERE,
};

/* Of virDomainGetState: libvirt says it for a moment of a domain that it still calls active, whose QEMU has
 * ended or is about to. It is to be asked again. */
bool vm_state_is_ending(int state);
enum vm_step vm_sides_decide(const struct vm_plan *p, enum vm_here_state here, enum vm_there_state there);

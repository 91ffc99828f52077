/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt's part of a migration in which migd moves the memory, carried to its end by a thread of its own:
 * the call, letting the guest run where it has arrived, and what is left of it where it does not run. It has
 * a record as other migrations of libvirt's (vm-record.h), so that the next migd does what this one could
 * not.
 */
#pragma once
#include "libvirt/hook.h"
#include "libvirt/vm-plan.h"

struct vm_carry;

/* Any thread; BLOCKS until libvirt begins. hook (NULL: none) is used in this call only. */
int vm_carry_begin(struct vm_carry **ret, const struct vm_plan *plan, const struct hook *hook,
                   const char *runtime_dir, struct mig_error *err);
/* Readable when libvirt has failed, or the guest has arrived and runs there. Borrowed. */
int vm_carry_fd(const struct vm_carry *c);
/* From then on: 0, or what libvirt says. */
int vm_carry_result(const struct vm_carry *c, struct mig_error *err);
/* It goes on by itself with what is left to do. */
struct vm_carry *vm_carry_let_go(struct vm_carry *c);
/* Those that a daemon before this one began. */
void vm_carry_recover(const struct hook *hook, const char *runtime_dir);

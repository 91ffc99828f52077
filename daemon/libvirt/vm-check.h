/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a domain of libvirt's can be moved to another host: both libvirts are asked, and what is in the way
 * becomes findings, as with a domain of migd's own. `migctl check`, `start --dry-run` and `start` go through
 * the one function here.
 *
 * BLOCKS: on a helper thread.
 */
#pragma once
#include "base/finding.h"
#include "libvirt/vm-plan.h"

/* An error when nothing can be said: this host's libvirt is not there, or has no such domain. Whatever else
 * is in the way is a finding; the plan is filled either way. */
int vm_check(const struct vm_request *q, struct vm_plan *ret, struct findings *f, struct mig_error *err);

/* A domain that libvirt has, for lists and for choosing an order. */
struct vm_summary {
    char name[VM_NAME_MAX + 1], uuid[40], state[24];
    bool persistent, active;
    uint64_t memory_bytes, resident_bytes; /* resident 0: not known */
    unsigned vcpus;
};
/* BLOCKS. All domains of this host's libvirt; the caller frees *ret. */
int vm_list(const char *uri, struct vm_summary **ret, size_t *ret_count, struct mig_error *err);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The figures of a job of libvirt's, as numbers in migd's units. */
#pragma once
#include "libvirt/virt-library.h"
#include "migration/migration.h"

struct vm_figures {
    bool active;        /* a job runs */
    uint64_t iteration; /* QEMU's passes over memory; 1: the first */
    uint64_t total_bytes, remaining_bytes, processed_bytes, constant_pages, normal_pages;
    uint64_t dirty_bytes_per_sec, bytes_per_sec;
    uint64_t downtime_usec; /* expected while it runs, then what it was; 0: not known */
    uint64_t setup_usec, throttle_percent;
};

/* Those of typed parameters. */
void vm_figures_read(struct vm_figures *ret, int type, virTypedParameterPtr params, int n);
/* BLOCKS. completed: of the job that has ended. */
int vm_figures_ask(struct vm_figures *ret, virDomainPtr domain, bool completed);
/* Into a migration's counters. */
void vm_figures_count(struct migration_counters *c, const struct vm_figures *f, bool ended);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The RAM of a QEMU that migd can move from outside: its shared memory backends, asked from QEMU, with the
 * descriptors and addresses that the kernel knows. Worker thread.
 */
#pragma once
#include "vmm/qmp.h"
#include <stdint.h>

struct qemu_memory {
    char id[64];         /* of the backend object: the same on both sides */
    uint64_t size_bytes; /* whole pages */
    int fd;              /* for reading and writing; owned */
    char origin[64];     /* "/proc/PID/fd/N", by which it can be opened again */
    uint64_t address;    /* where QEMU has it mapped, from its first byte on */
};

/* All of it; RAM that is not shared, which nobody can move from outside, is an error that says what to
 * change. Sorted by id. */
int qemu_memory_list(struct qmp *q, uint64_t deadline_usec, struct qemu_memory **ret, size_t *ret_n,
                     struct mig_error *err);
void qemu_memory_free(struct qemu_memory *list, size_t n);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtual machine: /dev/kvm, a VM, and its one memory slot. */
#pragma once
#include "memory.h"
#include <stdbool.h>

#define VM_MEMORY_SLOT 0u

struct vm {
    int kvm, fd;
    bool manual_clear; /* the dirty log is cleared by a call of its own */
};

/* path: /dev/kvm. Prints why it failed. */
int vm_create(struct vm *vm, const char *path, const struct guest_memory *memory);
/* The dirty log of the slot on or off, while the guest runs. 0 or -errno. */
int vm_log(const struct vm *vm, const struct guest_memory *memory, bool on);
void vm_close(struct vm *vm);

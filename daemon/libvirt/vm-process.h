/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The QEMU of a guest here, and whether it can run the guest any more: a process that ends is as good as gone
 * when its end has begun. To give its memory back takes the kernel seconds where that is large. Any thread.
 */
#pragma once
#include "libvirt/hook.h"

struct vm_process {
    int pidfd, stat_fd; /* -1: not known */
};
#define VM_PROCESS_NONE                                                                                      \
    (struct vm_process)                                                                                      \
    {                                                                                                        \
        .pidfd = -1, .stat_fd = -1                                                                           \
    }

/* hook: who knows where libvirt has it; NULL: nobody. */
struct vm_process vm_process_open(const struct hook *hook, const char *name, const char *uuid);
/* False where it is not known. */
bool vm_process_has_ended(const struct vm_process *p);
void vm_process_close(struct vm_process *p);

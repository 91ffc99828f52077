/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Where VMX keeps a task state segment; any three free pages below 4 GiB. */
#define TSS_ADDRESS 0xfffbd000ul

static int complain(const char *what)
{
    int error = errno;
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    return -error;
}

static int open_kvm(struct vm *vm, const char *path)
{
    vm->kvm = open(path, O_RDWR | O_CLOEXEC);
    if (vm->kvm < 0) {
        int error = errno;
        fprintf(stderr,
                "There is no KVM here (%s: %s). This example runs a virtual CPU: it needs a host with "
                "hardware virtualization, and the right to use it. migd-example-vmm does without.\n",
                path, strerror(error));
        return -error;
    }
    if (ioctl(vm->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION ||
        ioctl(vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0) {
        fprintf(stderr, "%s is not KVM, or one older than Linux 4.13.\n", path);
        return -ENOTSUP;
    }
    return 0;
}

/* Before the slot is made: it then gets no cleared-by-reading log. */
static void choose_log(struct vm *vm)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                 .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
    int has = ioctl(vm->kvm, KVM_CHECK_EXTENSION, cap.cap);
    vm->manual_clear =
        has > 0 && (has & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) && ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0;
}

int vm_log(const struct vm *vm, const struct guest_memory *memory, bool on)
{
    struct kvm_userspace_memory_region slot = {
        .slot = VM_MEMORY_SLOT,
        .flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0,
        .guest_phys_addr = 0,
        .memory_size = memory->size,
        .userspace_addr = (uintptr_t)memory->base,
    };
    return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

int vm_create(struct vm *vm, const char *path, const struct guest_memory *memory)
{
    int r = open_kvm(vm, path);
    if (r < 0)
        return r;
    vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
    if (vm->fd < 0)
        return complain("Cannot make a virtual machine");
    choose_log(vm);
    if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0 && errno != EINVAL && errno != ENOTTY)
        return complain("KVM_SET_TSS_ADDR");
    return vm_log(vm, memory, false) < 0 ? complain("Cannot give the virtual machine its memory") : 0;
}

void vm_close(struct vm *vm)
{
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->kvm >= 0)
        close(vm->kvm);
    vm->fd = vm->kvm = -1;
}

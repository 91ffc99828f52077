/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtual CPU on a thread of its own. All functions are called on the main thread. What always holds:
 * after vcpu_pause() the thread is not inside KVM_RUN and no instruction of the guest is half done, until
 * vcpu_resume().
 */
#pragma once
#include "memory.h"
#include "vm.h"
#include <pthread.h>
#include <stdbool.h>

struct kvm_run;
struct vcpu {
    int fd;
    const struct guest_memory *memory;
    struct kvm_run *run;
    size_t run_bytes;
    uint64_t rate;            /* records per second, 0: as fast as it goes */
    _Atomic uint64_t records; /* as the guest told them, one by one; a gap is a failure */
    _Atomic bool failed;      /* the guest or this vCPU went wrong, and it was said how */

    pthread_t thread;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t go, stood;
    bool started, wanted, standing, quit;
    int64_t due_nsec; /* vCPU thread: when the next record may be written */
};

/* Prints why it failed. */
int vcpu_create(struct vcpu *v, const struct vm *vm, const struct guest_memory *memory);
/* The registers of a guest that has not run yet. */
int vcpu_boot(struct vcpu *v);
/* Starts the thread at the first call. */
int vcpu_resume(struct vcpu *v);
void vcpu_pause(struct vcpu *v);
bool vcpu_running(const struct vcpu *v);
void vcpu_close(struct vcpu *v);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vcpu.h"
#include "../common/say.h"
#include "guest.h"
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ll
#define AHEAD_NSEC   2000000ll /* how far ahead of its rate the guest may run before it waits */
#define KICK         SIGUSR1

/* ---- exits ---- */

static int64_t now_nsec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

static void throttle(struct vcpu *v)
{
    int64_t now = now_nsec();
    if (!v->rate)
        return;
    if (v->due_nsec < now - NSEC_PER_SEC / 10)
        v->due_nsec = now; /* it stood still, or cannot go as fast: nothing is made up for */
    v->due_nsec += NSEC_PER_SEC / (int64_t)v->rate;
    if (v->due_nsec < now + AHEAD_NSEC)
        return;
    struct timespec until = {.tv_sec = v->due_nsec / NSEC_PER_SEC, .tv_nsec = v->due_nsec % NSEC_PER_SEC};
    pthread_mutex_lock(&v->lock);
    while (v->wanted && !v->quit && pthread_cond_timedwait(&v->go, &v->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&v->lock);
}

static void explain_bad(struct vcpu *v, uint32_t what)
{
    static const char *const words[] = {
        [GUEST_BAD_COUNTER] = "its counter in memory is not the one in its register",
        [GUEST_BAD_FPU] = "its SSE register is not of the same moment",
        [GUEST_BAD_RECORD] = "a page does not hold what was written to it",
    };
    struct kvm_regs regs = {0};
    ioctl(v->fd, KVM_GET_REGS, &regs);
    say("bad", "the guest says: %s (record %llu, page %llu)",
        what < sizeof words / sizeof *words && words[what] ? words[what] : "something unknown",
        (unsigned long long)regs.rbx + 1, (unsigned long long)regs.rbp);
}

/* The stack begins with the vector, and where the CPU has one, the error code; then where it happened. */
static void explain_fault(struct vcpu *v, uint32_t vector)
{
    struct kvm_regs r = {0};
    struct kvm_sregs s = {0};
    uint64_t words[3] = {0};
    ioctl(v->fd, KVM_GET_REGS, &r);
    ioctl(v->fd, KVM_GET_SREGS, &s);
    if (r.rsp >= GUEST_IDT && r.rsp <= GUEST_STACK - sizeof words)
        memcpy(words, v->memory->base + r.rsp, sizeof words);
    say("bad",
        "the guest met exception %" PRIu32 " (stack 0x%" PRIx64 " 0x%" PRIx64 ", cr2 0x%llx) at record %llu",
        vector, words[1], words[2], s.cr2, r.rbx + 1);
}

static bool take_output(struct vcpu *v)
{
    uint32_t value;
    memcpy(&value, (const char *)v->run + v->run->io.data_offset, sizeof value);
    if (v->run->io.direction != KVM_EXIT_IO_OUT || v->run->io.size != sizeof value) {
        say("bad", "the guest used port 0x%x in a way that it does not know", v->run->io.port);
        return false;
    }
    if (v->run->io.port == GUEST_PORT_FAULT) {
        explain_fault(v, value);
        return false;
    }
    if (v->run->io.port != GUEST_PORT_WROTE) {
        explain_bad(v, value);
        return false;
    }
    if (value != (uint32_t)(v->records + 1)) {
        say("bad", "the guest wrote record %" PRIu32 " after %" PRIu64, value, v->records);
        return false;
    }
    v->records++;
    throttle(v);
    return true;
}

/* False: the guest cannot go on. */
static bool take_exit(struct vcpu *v)
{
    switch (v->run->exit_reason) {
    case KVM_EXIT_IO:
        return take_output(v);
    case KVM_EXIT_INTR:
        return true;
    case KVM_EXIT_INTERNAL_ERROR:
        say("bad", "KVM cannot run the guest: internal error %u", v->run->internal.suberror);
        return false;
    default:
        say("bad", "the vCPU left the guest for reason %u", v->run->exit_reason);
        return false;
    }
}

/* ---- the thread ---- */

/* An OUT ends in KVM_RUN's next call, which moves the instruction pointer on. Without it a state saved now
 * would have the instruction behind it in memory and before it in the registers. */
static void finish_instruction(struct vcpu *v)
{
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (ioctl(v->fd, KVM_RUN, 0) >= 0 || errno != EINTR) {
        say("bad", "the vCPU cannot be brought between two instructions");
        v->failed = true;
    }
}

static void *vcpu_main(void *userdata)
{
    struct vcpu *v = userdata;
    pthread_mutex_lock(&v->lock);
    while (!v->quit && !v->failed) {
        if (!v->wanted) {
            finish_instruction(v);
            v->standing = true;
            pthread_cond_signal(&v->stood);
            while (!v->wanted && !v->quit)
                pthread_cond_wait(&v->go, &v->lock);
            v->standing = false;
            continue;
        }
        pthread_mutex_unlock(&v->lock);
        if (ioctl(v->fd, KVM_RUN, 0) >= 0) {
            if (!take_exit(v))
                v->failed = true;
        } else if (errno != EINTR && errno != EAGAIN) {
            say("bad", "KVM_RUN: %s", strerror(errno));
            v->failed = true;
        }
        pthread_mutex_lock(&v->lock);
    }
    v->standing = true;
    pthread_cond_signal(&v->stood);
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

int vcpu_resume(struct vcpu *v)
{
    int r = 0;
    pthread_mutex_lock(&v->lock);
    __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    v->wanted = true;
    if (!v->started)
        r = -pthread_create(&v->thread, NULL, vcpu_main, v);
    v->started |= r == 0;
    pthread_cond_broadcast(&v->go);
    pthread_mutex_unlock(&v->lock);
    return r;
}

/* The thread may be about to enter the guest, where no flag of ours is looked at: immediate_exit catches it
 * at the door, the signal inside. */
void vcpu_pause(struct vcpu *v)
{
    pthread_mutex_lock(&v->lock);
    v->wanted = false;
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&v->go);
    if (v->started && !v->standing)
        pthread_kill(v->thread, KICK);
    while (v->started && !v->standing)
        pthread_cond_wait(&v->stood, &v->lock);
    pthread_mutex_unlock(&v->lock);
}

bool vcpu_running(const struct vcpu *v)
{
    return v->wanted;
}

/* ---- making and ending ---- */

static int complain(const char *what)
{
    int error = errno;
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    return -error;
}

/* What KVM can give. Both sides must give the same: a VMM for different hosts agrees on less. */
static int set_cpuid(struct vcpu *v, const struct vm *vm)
{
    enum { ENTRIES = 256 };
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + ENTRIES * sizeof cpuid->entries[0]);
    if (!cpuid)
        return -ENOMEM;
    cpuid->nent = ENTRIES;
    int r = 0;
    if (ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 || ioctl(v->fd, KVM_SET_CPUID2, cpuid) < 0)
        r = complain("Cannot give the vCPU its features");
    free(cpuid);
    return r;
}

static void on_kick(int number)
{
}

int vcpu_create(struct vcpu *v, const struct vm *vm, const struct guest_memory *memory)
{
    struct sigaction kick = {.sa_handler = on_kick}; /* no SA_RESTART: KVM_RUN answers EINTR */
    pthread_condattr_t attr;

    v->memory = memory;
    sigaction(KICK, &kick, NULL);
    pthread_mutex_init(&v->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&v->go, &attr);
    pthread_cond_init(&v->stood, &attr);
    pthread_condattr_destroy(&attr);
    v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
    int bytes = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (v->fd < 0 || bytes < 0)
        return complain("Cannot make a vCPU");
    v->run_bytes = (size_t)bytes;
    void *p = mmap(NULL, v->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (p == MAP_FAILED)
        return complain("Cannot map the vCPU");
    v->run = p;
    return set_cpuid(v, vm);
}

int vcpu_boot(struct vcpu *v)
{
    enum { CR0 = 0x80010033, CR4_PAE = 0x20, CR4_SSE = 0x600, EFER_LME = 0x100, EFER_LMA = 0x400 };
    const struct kvm_segment code = {.limit = UINT32_MAX,
                                     .selector = GUEST_CODE_SELECTOR,
                                     .type = 11,
                                     .present = 1,
                                     .s = 1,
                                     .l = 1,
                                     .g = 1};
    const struct kvm_segment data = {.limit = UINT32_MAX,
                                     .selector = GUEST_DATA_SELECTOR,
                                     .type = 3,
                                     .present = 1,
                                     .db = 1,
                                     .s = 1,
                                     .g = 1};
    struct kvm_sregs s;
    if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
        return complain("KVM_GET_SREGS");
    s.cs = code;
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.gdt = (struct kvm_dtable){.base = GUEST_GDT, .limit = GUEST_DATA_SELECTOR + 7};
    s.idt = (struct kvm_dtable){.base = GUEST_IDT, .limit = GUEST_VECTORS * 16 - 1};
    s.cr0 = CR0;
    s.cr3 = GUEST_TABLES;
    s.cr4 = CR4_PAE | CR4_SSE;
    s.efer = EFER_LME | EFER_LMA;
    const struct kvm_regs r = {
        .rip = GUEST_PROGRAM,
        .rsp = GUEST_STACK,
        .rflags = 2,
        .rbp = pattern_page(&v->memory->cpu_pages, 1),
        .r12 = GUEST_RECORDS,
        .r13 = v->memory->cpu_pages.pages,
        .r14 = v->memory->cpu_pages.stride,
        .r15 = v->memory->cpu_pages.magic,
    };
    if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0 || ioctl(v->fd, KVM_SET_REGS, &r) < 0)
        return complain("Cannot set the vCPU's registers");
    return 0;
}

void vcpu_close(struct vcpu *v)
{
    if (v->started) {
        vcpu_pause(v);
        pthread_mutex_lock(&v->lock);
        v->quit = true;
        pthread_cond_broadcast(&v->go);
        pthread_mutex_unlock(&v->lock);
        pthread_join(v->thread, NULL);
        v->started = false;
    }
    if (v->run)
        munmap(v->run, v->run_bytes);
    if (v->fd >= 0)
        close(v->fd);
    v->run = NULL;
    v->fd = -1;
}

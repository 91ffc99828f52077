/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-state.h"
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* What a 64-bit guest can have changed. A VMM for guests that do more asks KVM_GET_MSR_INDEX_LIST. */
static const uint32_t msr_list[] = {
    0x10,                                           /* TSC: time goes on where it was */
    0x174,                                          /* SYSENTER_CS, ESP, EIP */
    0x175,      0x176,      0x277,                  /* PAT */
    0xc0000081,                                     /* STAR, LSTAR, CSTAR, SFMASK */
    0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102, /* KERNEL_GS_BASE */
};
#define MSRS (sizeof msr_list / sizeof *msr_list)
_Static_assert(MSRS <= CPU_STATE_MSRS_MAX, "room for all");

struct one_msr {
    struct kvm_msrs head;
    struct kvm_msr_entry entry;
};

/* One by one: KVM ends a list at the first that this CPU lacks. */
static void save_msrs(const struct vcpu *v, struct cpu_state *s)
{
    for (size_t i = 0; i < MSRS; i++) {
        struct one_msr m = {.head.nmsrs = 1, .entry.index = msr_list[i]};
        if (ioctl(v->fd, KVM_GET_MSRS, &m) == 1)
            s->msrs[s->nmsrs++] = m.entry;
    }
}

static int load_msrs(const struct vcpu *v, const struct cpu_state *s)
{
    for (uint32_t i = 0; i < s->nmsrs; i++) {
        struct one_msr m = {.head.nmsrs = 1, .entry = s->msrs[i]};
        if (ioctl(v->fd, KVM_SET_MSRS, &m) != 1)
            return -EINVAL;
    }
    return 0;
}

struct part {
    const char *name;
    unsigned long request;
    void *data;
};

static int all(const struct vcpu *v, const struct part *parts, size_t n, const char **ret_what)
{
    for (size_t i = 0; i < n; i++)
        if (ioctl(v->fd, parts[i].request, parts[i].data) < 0) {
            *ret_what = parts[i].name;
            return -errno;
        }
    return 0;
}

int cpu_state_save(const struct vcpu *v, struct cpu_state *s, const char **ret_what)
{
    memset(s, 0, sizeof *s);
    const struct part parts[] = {
        {"KVM_GET_REGS", KVM_GET_REGS, &s->regs},
        {"KVM_GET_SREGS", KVM_GET_SREGS, &s->sregs},
        {"KVM_GET_XSAVE", KVM_GET_XSAVE, &s->xsave},
        {"KVM_GET_XCRS", KVM_GET_XCRS, &s->xcrs},
        {"KVM_GET_DEBUGREGS", KVM_GET_DEBUGREGS, &s->debugregs},
        {"KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &s->events},
    };
    int r = all(v, parts, sizeof parts / sizeof *parts, ret_what);
    if (r == 0)
        save_msrs(v, s);
    return r;
}

/* In this order: what XSAVE holds depends on the control registers, and events come last, because setting
 * registers drops an exception under way. */
int cpu_state_load(const struct vcpu *v, const struct cpu_state *s, const char **ret_what)
{
    struct cpu_state copy = *s; /* KVM's requests are not const */
    const struct part parts[] = {
        {"KVM_SET_SREGS", KVM_SET_SREGS, &copy.sregs},
        {"KVM_SET_REGS", KVM_SET_REGS, &copy.regs},
        {"KVM_SET_XCRS", KVM_SET_XCRS, &copy.xcrs},
        {"KVM_SET_XSAVE", KVM_SET_XSAVE, &copy.xsave},
        {"KVM_SET_DEBUGREGS", KVM_SET_DEBUGREGS, &copy.debugregs},
        {"KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &copy.events},
    };
    if (s->nmsrs > CPU_STATE_MSRS_MAX) {
        *ret_what = "a list of MSRs that is too long";
        return -EINVAL;
    }
    int r = all(v, parts, sizeof parts / sizeof *parts, ret_what);
    if (r == 0 && (r = load_msrs(v, s)) < 0)
        *ret_what = "KVM_SET_MSRS";
    return r;
}

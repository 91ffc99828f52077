/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that a vCPU is besides memory, as it goes into SaveState and comes out of LoadState. There is no
 * interrupt controller in this VM, so no lapic. While the vCPU is paused only.
 */
#pragma once
#include "vcpu.h"
#include <linux/kvm.h>

#define CPU_STATE_MSRS_MAX 16u

/* Integers of the host: both sides run the same program on the same kind of CPU. */
struct cpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_xsave xsave; /* FPU, SSE, AVX: with the control registers that say what of it counts */
    struct kvm_xcrs xcrs;
    struct kvm_debugregs debugregs;
    struct kvm_vcpu_events events; /* an exception or interrupt under way */
    uint32_t nmsrs, reserved;
    struct kvm_msr_entry msrs[CPU_STATE_MSRS_MAX];
};

/* 0 or -errno; *ret_what is what KVM refused. */
int cpu_state_save(const struct vcpu *v, struct cpu_state *s, const char **ret_what);
int cpu_state_load(const struct vcpu *v, const struct cpu_state *s, const char **ret_what);

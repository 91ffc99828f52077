# SPDX-License-Identifier: LGPL-2.1-or-later
# The example for authors of VMMs: a real vCPU and kernel devices. doc/integration.md explains it. Its guest is for x86-64.
KVM_VMM_SOURCES = \
	contrib/examples/kvm-vmm/cpu-state.c contrib/examples/kvm-vmm/cpu-state.h \
	contrib/examples/kvm-vmm/device.c contrib/examples/kvm-vmm/device.h \
	contrib/examples/kvm-vmm/dirty-log.c contrib/examples/kvm-vmm/dirty-log.h \
	contrib/examples/kvm-vmm/dma-space.c contrib/examples/kvm-vmm/dma-space.h \
	contrib/examples/kvm-vmm/drivers.c contrib/examples/kvm-vmm/drivers.h \
	contrib/examples/kvm-vmm/guest.S contrib/examples/kvm-vmm/guest.h \
	contrib/examples/kvm-vmm/main.c \
	contrib/examples/kvm-vmm/memory.c contrib/examples/kvm-vmm/memory.h \
	contrib/examples/kvm-vmm/new-requests.h \
	contrib/examples/kvm-vmm/options.c contrib/examples/kvm-vmm/options.h \
	contrib/examples/kvm-vmm/pattern.c contrib/examples/kvm-vmm/pattern.h \
	contrib/examples/kvm-vmm/register.c contrib/examples/kvm-vmm/register.h \
	contrib/examples/kvm-vmm/vcpu.c contrib/examples/kvm-vmm/vcpu.h \
	contrib/examples/kvm-vmm/vm.c contrib/examples/kvm-vmm/vm.h \
	contrib/examples/kvm-vmm/vmm.c contrib/examples/kvm-vmm/vmm.h
if X86_64
noinst_PROGRAMS += migd-example-kvm-vmm
migd_example_kvm_vmm_SOURCES = $(EXAMPLE_COMMON) $(KVM_VMM_SOURCES)
migd_example_kvm_vmm_LDADD = $(SYSTEMD_LIBS)
endif

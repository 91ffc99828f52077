# What the examples say on a machine that has not what they need, and the guest of the KVM example where it has.
dist_noinst_SCRIPTS += tests/examples/check-kvm-vmm
if X86_64
TESTS += tests/examples/check-kvm-vmm
endif

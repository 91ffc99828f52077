include contrib/simdev/local.mk
include contrib/examples/common/local.mk
include contrib/examples/kvm-vmm/local.mk
include contrib/examples/workload/local.mk
include contrib/completions/local.mk

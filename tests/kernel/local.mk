# Tests on a real kernel in an emulated machine: `make check-kernel`. The programs are built by `make check` like all others, but
# they run inside the lab only.
KERNEL_LAB = tests/kernel/lab.c tests/kernel/lab.h
check_PROGRAMS += tests/kernel/check-open tests/kernel/check-trackers tests/kernel/check-device tests/kernel/check-stock tests/kernel/holder
check_PROGRAMS += tests/kernel/check-traps
tests_kernel_check_traps_SOURCES = tests/kernel/check-traps.c $(KERNEL_LAB)
tests_kernel_check_traps_LDADD = libmigd.la
tests_kernel_check_trackers_SOURCES = tests/kernel/check-trackers.c $(KERNEL_LAB)
tests_kernel_check_trackers_LDADD = libmigd.la
tests_kernel_check_device_SOURCES = tests/kernel/check-device.c $(KERNEL_LAB)
tests_kernel_check_device_LDADD = libmigd.la
tests_kernel_check_stock_SOURCES = tests/kernel/check-stock.c $(KERNEL_LAB)
tests_kernel_check_stock_LDADD = libmigd.la
check_PROGRAMS += tests/kernel/check-stock-faults tests/kernel/arm-mtty
tests_kernel_check_stock_faults_SOURCES = tests/kernel/check-stock-faults.c $(KERNEL_LAB)
tests_kernel_check_stock_faults_LDADD = libmigd.la
tests_kernel_arm_mtty_SOURCES = tests/kernel/arm-mtty.c $(KERNEL_LAB)
tests_kernel_arm_mtty_LDADD = libmigd.la
tests_kernel_check_open_SOURCES = tests/kernel/check-open.c $(KERNEL_LAB)
tests_kernel_check_open_LDADD = libmigd.la
tests_kernel_holder_SOURCES = tests/kernel/holder.c tests/kernel/holder-open.c tests/kernel/holder-track.c tests/kernel/holder.h $(KERNEL_LAB)
tests_kernel_holder_LDADD = libmigd.la
# The only program of a guest in the lab: without sanitizers, so that the C library is all it takes along.
check_PROGRAMS += tests/kernel/qemu-guest
tests_kernel_qemu_guest_SOURCES = tests/kernel/qemu-guest.c
tests_kernel_qemu_guest_CFLAGS = -std=gnu11 $(WARN_CFLAGS)
tests_kernel_qemu_guest_LDFLAGS =
dist_noinst_SCRIPTS += tests/kernel/check-qemu-vfio tests/kernel/check-soft-dirty
dist_noinst_SCRIPTS += tests/kernel/check-check tests/kernel/check-open-vmm tests/kernel/check-devices tests/kernel/check-stock-devices tests/kernel/check-migration tests/kernel/check-stock-migration tests/kernel/check-unit tests/kernel/make-root tests/kernel/make-stock tests/kernel/run tests/kernel/mkinitramfs tests/kernel/init tests/kernel/run-tests tests/kernel/make-lab
dist_noinst_SCRIPTS += tests/kernel/check-state-damage
dist_noinst_SCRIPTS += tests/kernel/check-hook
dist_noinst_SCRIPTS += tests/kernel/check-vmm tests/kernel/check-bench
dist_noinst_SCRIPTS += tests/kernel/check-tracking tests/kernel/check-tls tests/kernel/check-tls-keys
dist_noinst_SCRIPTS += tests/kernel/check-register-pid tests/kernel/check-stock-workload
dist_noinst_DATA += tests/kernel/README.md tests/kernel/suite tests/kernel/lab.service tests/kernel/machine.py tests/kernel/debian.sh tests/kernel/two-sides.sh tests/kernel/kernel.config tests/kernel/mtty-dma.patch tests/kernel/qemu-ssads.patch

check-kernel: all $(check_PROGRAMS)
	TOP_BUILDDIR='$(abs_top_builddir)' $(top_srcdir)/tests/kernel/run || test $$? = 77
.PHONY: check-kernel

# SPDX-License-Identifier: LGPL-2.1-or-later
# The example for authors of VMMs; also the CPU side of rehearsals and of the end-to-end tests.
noinst_PROGRAMS += migd-example-vmm
migd_example_vmm_SOURCES = $(EXAMPLE_COMMON) \
	contrib/examples/workload/check.c contrib/examples/workload/check.h \
	contrib/examples/workload/cpus.c contrib/examples/workload/cpus.h \
	contrib/examples/workload/journal.c contrib/examples/workload/journal.h \
	contrib/examples/workload/main.c \
	contrib/examples/workload/memory.c contrib/examples/workload/memory.h \
	contrib/examples/workload/options.c contrib/examples/workload/options.h \
	contrib/examples/workload/record.c contrib/examples/workload/record.h \
	contrib/examples/workload/register.c contrib/examples/workload/register.h \
	contrib/examples/workload/tracking.c contrib/examples/workload/tracking.h \
	contrib/examples/workload/vmm.c contrib/examples/workload/vmm.h
migd_example_vmm_LDADD = $(SYSTEMD_LIBS) $(XXHASH_LIBS)

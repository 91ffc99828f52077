# SPDX-License-Identifier: LGPL-2.1-or-later
# What the examples share.
EXAMPLE_COMMON = \
	contrib/examples/common/bus.c contrib/examples/common/bus.h \
	contrib/examples/common/cpu-log.c contrib/examples/common/cpu-log.h \
	contrib/examples/common/say.c contrib/examples/common/say.h \
	contrib/examples/common/size.c contrib/examples/common/size.h \
	contrib/examples/common/vmm-interface.c contrib/examples/common/vmm-interface.h

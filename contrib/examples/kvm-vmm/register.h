/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the VMM hands to migd, and in which order. Main thread, blocking calls. */
#pragma once
#include "vmm.h"

/* 0 or -errno; what migd refused was printed. */
int register_domain(sd_bus *bus, const char *name, bool incoming, const struct vmm *v);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this example does when migd asks it to pause, resume, save and load. Main thread. */
#pragma once
#include "cpus.h"
#include "../common/vmm-interface.h"

#define VMM_PATH "/org/migd/Example"

/* Exports the interface at VMM_PATH; it and cpus stay where they are. */
int vmm_export(struct vmm_interface *vmm, struct cpus *cpus, bool incoming, sd_bus *bus);

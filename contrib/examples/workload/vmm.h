/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The Vmm interface (org.migd.Migd1.Vmm) as this example exports it at VMM_PATH, and beside it
 * org.migd.Example with the properties Running and Writes, by which a test sees that exactly one side runs.
 * Main thread.
 */
#pragma once
#include "cpus.h"
#include <systemd/sd-bus.h>

#define VMM_PATH "/org/migd/Example"

struct vmm {
    struct cpus *cpus;
    bool incoming; /* must not run before a state was loaded */
    bool loaded;
};

int vmm_export(struct vmm *vmm, sd_bus *bus);
/* "WORD SECONDS.MICROSECONDS DETAILS" on standard output, on the monotonic clock. */
void vmm_say(const char *word, const char *format, ...) __attribute__((format(printf, 2, 3)));

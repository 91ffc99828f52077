/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a VMM registers itself with migd: one domain, its memory, the log of its CPU writes, its devices, and
 * itself as the controller. Everything goes as descriptors over the bus. Main thread, blocking calls.
 */
#pragma once
#include "options.h"
#include "memory.h"
#include "../common/cpu-log.h"
#include <systemd/sd-bus.h>

/* Memory that migd has: of the domain, by name. */
int open_memory(sd_bus *bus, const char *domain, const char *memory, struct guest_memory *ret);
/* RegisterDomain; *ret_path is freed by the caller. */
int register_domain(sd_bus *bus, const struct options *o, char **ret_path);
/* Memory that migd makes for an incoming domain, as "ram0". */
int register_make_memory(sd_bus *bus, const char *domain_path, const struct options *o,
                         struct guest_memory *ret);
/* The rest: the memory unless migd made it, the log, the devices, the controller. */
int register_rest(sd_bus *bus, const char *domain_path, const struct options *o,
                  const struct guest_memory *memory, const struct cpu_log *log, int uffd);

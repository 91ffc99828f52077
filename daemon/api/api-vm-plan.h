/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The plan of a libvirt domain's migration on the bus, as a{sv}: "domain" s, "uuid" s, "destination" s,
 * "peer-domain" s, "engine" s, "why" s, "uri" s, "destination-uri" s, "data-uri" s, "flags" as, "bandwidth" t
 * (bytes per second, 0: no cap), "max-downtime" t (usec), "connections" u, "memory" t, "persistent" b (it has
 * a definition here), "command" s (what virsh would be told). */
#pragma once
#include "libvirt/vm-plan.h"
#include <systemd/sd-bus.h>

int api_append_vm_plan(sd_bus_message *m, const struct vm_plan *p);

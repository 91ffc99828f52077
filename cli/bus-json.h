/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What arrives on the bus as JSON values: everything behind this works on one kind of value, whatever is
 * printed in the end. No state. */
#pragma once
#include <systemd/sd-bus.h>

struct json_object;

/* Takes the next complete value: integers, strings and booleans as they are, a dictionary with string keys as
 * an object, other arrays and structures as arrays, a variant as what is in it, a descriptor as null. 0, or
 * -errno; the caller puts *ret. */
int bus_read_json(sd_bus_message *m, struct json_object **ret);

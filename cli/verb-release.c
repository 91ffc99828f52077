/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl release: gives a domain's memory and devices back and forgets it. */
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "verbs.h"

int verb_release(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_free_ char *path = NULL;
    _cleanup_message_ sd_bus_message *m = NULL;
    if (bus_open(&bus, &err) < 0 || bus_domain_path(bus, args->positional[0], &path, &err) < 0 ||
        bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "Release", &m, &err) < 0)
        return output_error(&err);
    int r = args_has(args, OPT_FORCE) ? sd_bus_message_append(m, "a{sv}", 1, "force", "b", true)
                                      : sd_bus_message_append(m, "a{sv}", 0);
    if (r < 0)
        bus_message_failed(r, &err);
    else
        r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, NULL, &err);
    if (r < 0)
        return output_error(&err);
    if (arg_json) {
        _cleanup_json_ struct json_object *o = json_object_new_object();
        json_object_object_add(o, "released", json_object_new_string(args->positional[0]));
        output_json(o);
    }
    return output_finish();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl resolve: the operator's word on a migration in doubt. */
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "verbs.h"
#include <stdio.h>

int verb_resolve(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_free_ char *path = NULL;
    _cleanup_message_ sd_bus_message *m = NULL;
    bool run = args_has(args, OPT_RUN);
    if (run == args_has(args, OPT_DROP)) {
        mig_error_set(&err, MIG_ERR_INVALID_ARGUMENT, 0, "say either --run or --drop");
        mig_error_hint(
            &err, "First make sure that the other side does not run it (--run), or that it does (--drop)");
        return output_error(&err);
    }
    if (bus_open(&bus, &err) < 0 || bus_migration_path(bus, args->positional[0], &path, &err) < 0 ||
        bus_new_call(bus, path, MIGD_IFACE_MIGRATION, "Resolve", &m, &err) < 0)
        return output_error(&err);
    int r = sd_bus_message_append(m, "sa{sv}", run ? "run" : "drop", 0);
    if (r < 0)
        bus_message_failed(r, &err);
    else
        r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, NULL, &err);
    if (r < 0)
        return output_error(&err);
    _cleanup_json_ struct json_object *status = NULL;
    if (arg_json) {
        if (bus_migration_status(bus, path, &status, &err) < 0)
            return output_error(&err);
        output_json(status);
    }
    return output_finish();
}

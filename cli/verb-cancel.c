/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl cancel: asks for the end of a migration. The workload goes on at the source. */
#include "bus.h"
#include "follow.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "status-view.h"
#include "verbs.h"
#include <stdio.h>
#include <string.h>

static int wait_for_end(sd_bus *bus, struct follow *follow, const char *path)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_json_ struct json_object *status = NULL;
    int r = follow_run(follow, path, PROGRESS_NONE, &status, &err);
    if (r == -EINTR && !mig_error_is_set(&err))
        return 130;
    if (r < 0)
        return output_error(&err);
    if (arg_json)
        output_json(status);
    else
        status_print_report(stdout, status, status_runs_at(bus, status));
    /* Cancelled is what was asked for; whatever else it came to is not. */
    r = output_finish();
    if (r || strcmp(json_str(status, "state"), "cancelled") == 0)
        return r;
    return strcmp(json_str(status, "state"), "in-doubt") == 0 ? MIGD_EXIT_IN_DOUBT : MIGD_EXIT_FAILED;
}

int verb_cancel(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_(follow_freep) struct follow *follow = NULL;
    _cleanup_free_ char *path = NULL;
    _cleanup_message_ sd_bus_message *m = NULL;
    bool wait = args_has(args, OPT_WAIT);
    if (bus_open(&bus, &err) < 0 || bus_migration_path(bus, args->positional[0], &path, &err) < 0 ||
        (wait && follow_new(&follow, bus, &err) < 0) ||
        bus_new_call(bus, path, MIGD_IFACE_MIGRATION, "Cancel", &m, &err) < 0)
        return output_error(&err);
    int r = sd_bus_message_append(m, "a{sv}", 0);
    if (r < 0)
        bus_message_failed(r, &err);
    else
        r = bus_call(bus, m, 0, NULL, &err);
    if (r < 0)
        return output_error(&err);
    if (wait)
        return wait_for_end(bus, follow, path);
    _cleanup_json_ struct json_object *status = NULL;
    if (arg_json) {
        if (bus_migration_status(bus, path, &status, &err) < 0)
            return output_error(&err);
        output_json(status);
    }
    return output_finish();
}

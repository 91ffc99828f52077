/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl status: how a migration stands, now or when it has ended. */
#include "bus.h"
#include "follow.h"
#include "json-util.h"
#include "output.h"
#include "pick.h"
#include "status-view.h"
#include "verbs.h"

int verb_status(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_(follow_freep) struct follow *follow = NULL;
    _cleanup_free_ char *path = NULL;
    _cleanup_json_ struct json_object *status = NULL;
    bool wait = args_has(args, OPT_WAIT);
    if (bus_open(&bus, &err) < 0 || pick_migration(bus, args, &path, &err) < 0)
        return output_error(&err);
    int r = 0;
    if (wait)
        r = follow_new(&follow, bus, &err);
    if (r == 0)
        r = wait ? follow_run(follow, path, PROGRESS_NONE, &status, &err)
                 : bus_migration_status(bus, path, &status, &err);
    if (r == -EINTR && !mig_error_is_set(&err))
        return 130;
    if (r < 0)
        return output_error(&err);
    if (arg_json)
        output_json(status);
    else
        status_print(stdout, status);
    r = output_finish();
    return r || !wait ? r : status_exit_code(status);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl monitor: follows a migration that runs already. */
#include "bus.h"
#include "follow.h"
#include "output.h"
#include "pick.h"
#include "verbs.h"

int verb_monitor(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_(follow_freep) struct follow *follow = NULL;
    _cleanup_free_ char *path = NULL;
    if (bus_open(&bus, &err) < 0 || pick_migration(bus, args, &path, &err) < 0 ||
        follow_new(&follow, bus, &err) < 0)
        return output_error(&err);
    return follow_to_the_end(follow, bus, path, progress_mode_for_stdout());
}

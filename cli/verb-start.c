/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl start: begins a migration and follows it. */
#include "bus.h"
#include "follow.h"
#include "json-util.h"
#include "migd-bus.h"
#include "migration-options.h"
#include "output.h"
#include "verbs.h"
#include "vm.h"
#include <stdio.h>
#include <string.h>

static int begin(sd_bus *bus, const char *domain, const struct args *args, char **ret_path,
                 struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "Migrate", &m, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_append(m, "s", args->positional[1])) < 0)
        return bus_message_failed(r, err);
    if ((r = migration_options_append(m, args, err)) < 0)
        return r;
    if ((r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, &reply, err)) < 0)
        return r;
    const char *path;
    if ((r = sd_bus_message_read(reply, "o", &path)) < 0)
        return bus_message_failed(r, err);
    *ret_path = strdup(path);
    return *ret_path ? 0 : mig_error_oom(err);
}

static int print_started(sd_bus *bus, const char *path, struct mig_error *err)
{
    _cleanup_json_ struct json_object *status = NULL;
    int r = bus_migration_status(bus, path, &status, err);
    if (r < 0)
        return r;
    if (arg_json)
        output_json(status);
    else
        printf("%s\n", json_str(status, "id"));
    return 0;
}

int verb_start(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_(follow_freep) struct follow *follow = NULL;
    _cleanup_free_ char *path = NULL, *domain = NULL;
    bool detach = args_has(args, OPT_DETACH), vm;
    if (bus_open(&bus, &err) < 0 || vm_find(bus, args, &domain, &vm, &err) < 0)
        return output_error(&err);
    if (args_has(args, OPT_DRY_RUN))
        return vm_report(bus, args, args->positional[1], true);
    /* Before it begins: the first round may be over sooner than we could ask. */
    if (!detach && follow_new(&follow, bus, &err) < 0)
        return output_error(&err);
    int r = vm ? vm_begin(bus, args, args->positional[0], args->positional[1], NULL, &path, &err)
               : begin(bus, domain, args, &path, &err);
    if (r < 0)
        return output_error(&err);
    if (!detach)
        return follow_to_the_end(follow, bus, path, progress_mode_for_stdout());
    if (print_started(bus, path, &err) < 0)
        return output_error(&err);
    return output_finish();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl set: changes what was chosen for a migration, while it runs. */
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "migration-options.h"
#include "output.h"
#include "verbs.h"
#include <stdio.h>
#include <string.h>

static int append_settings(sd_bus_message *m, const struct args *args, struct mig_error *err)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r < 0)
        return bus_message_failed(r, err);
    for (int i = 1; i < args->n_positional; i++) {
        _cleanup_free_ char *key = strdup(args->positional[i]);
        char *equals = key ? strchr(key, '=') : NULL;
        if (!key)
            return mig_error_oom(err);
        if (!equals) {
            r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%.64s is not of the form KEY=VALUE", key);
            mig_error_hint(err, "For example: migctl set %.64s bandwidth=500M", args->positional[0]);
            return r;
        }
        *equals = '\0';
        if ((r = migration_option_append(m, key, equals + 1, true, err)) < 0)
            return r;
    }
    r = sd_bus_message_close_container(m);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

int verb_set(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_free_ char *path = NULL;
    _cleanup_message_ sd_bus_message *m = NULL;
    if (bus_open(&bus, &err) < 0 || bus_migration_path(bus, args->positional[0], &path, &err) < 0 ||
        bus_new_call(bus, path, MIGD_IFACE_MIGRATION, "SetOptions", &m, &err) < 0 ||
        append_settings(m, args, &err) < 0 || bus_call(bus, m, 0, NULL, &err) < 0)
        return output_error(&err);
    if (!arg_json)
        return MIGD_EXIT_DONE;
    _cleanup_json_ struct json_object *status = NULL;
    if (bus_migration_status(bus, path, &status, &err) < 0)
        return output_error(&err);
    output_json(status);
    return output_finish();
}

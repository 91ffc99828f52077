/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pick.h"
#include "bus.h"
#include "json-util.h"
#include <string.h>

static bool is_open(struct json_object *migration)
{
    const char *state = json_str(migration, "State");
    return strcmp(state, "running") == 0 || strcmp(state, "in-doubt") == 0;
}

int pick_migration(sd_bus *bus, const struct args *args, char **ret_path, struct mig_error *err)
{
    if (args->n_positional > 0)
        return bus_migration_path(bus, args->positional[0], ret_path, err);
    _cleanup_json_ struct json_object *domains = NULL, *migrations = NULL;
    int r = bus_objects(bus, &domains, &migrations, err);
    if (r < 0)
        return r;
    struct json_object *only = NULL;
    size_t n = 0;
    for (size_t i = 0; i < json_length(migrations); i++)
        if (is_open(json_object_array_get_idx(migrations, i))) {
            only = json_object_array_get_idx(migrations, i);
            n++;
        }
    if (n == 1)
        return bus_migration_path(bus, json_str(only, "Id"), ret_path, err);
    if (n == 0)
        r = mig_error_set(err, MIG_ERR_NO_SUCH_MIGRATION, 0, "no migration runs");
    else
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%zu migrations run: say which, by id or domain",
                          n);
    mig_error_hint(err, "migctl list shows those that migd knows");
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl show: everything about a domain or a migration. */
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "status-view.h"
#include "table.h"
#include "verbs.h"
#include <string.h>

static const struct column domain_fields[] = {
    {"Name", "Domain", UNIT_TEXT},           {"State", "State", UNIT_TEXT},
    {"Problem", "Problem", UNIT_TEXT},       {"Incoming", "Incoming", UNIT_BOOL},
    {"Controller", "Controller", UNIT_TEXT},
};
static const struct column memory_columns[] = {
    {"name", "MEMORY", UNIT_TEXT},         {"size", "SIZE", MIGD_UNIT_BYTES},
    {"offset", "OFFSET", MIGD_UNIT_BYTES}, {"page-size", "PAGES", MIGD_UNIT_BYTES},
    {"made", "MADE", UNIT_BOOL},           {"iova", "IOVA", UNIT_ADDRESS},
    {"origin", "ORIGIN", UNIT_TEXT},
};
static const struct column device_columns[] = {
    {"name", "DEVICE", UNIT_TEXT},
    {"kind", "KIND", UNIT_TEXT},
    {"vendor", "VENDOR", UNIT_ADDRESS},
    {"device", "DEVICE ID", UNIT_ADDRESS},
    {"state", "STATE", UNIT_TEXT},
    {"gone", "GONE", UNIT_BOOL},
    {"mappings", "MAPPINGS", MIGD_UNIT_COUNT},
    {"migration-flags", "MIGRATION", UNIT_LIST},
    {"socket", "SOCKET", UNIT_TEXT},
    {"listen", "LISTEN", UNIT_TEXT},
};
static const struct column opened_columns[] = {
    {"name", "OPENED BY MIGD", UNIT_TEXT},
    {"address", "ADDRESS", UNIT_TEXT},
    {"driver", "DRIVER", UNIT_TEXT},
    {"interface", "INTERFACE", UNIT_TEXT},
    {"container", "CONTAINER", UNIT_TEXT},
    {"group", "GROUP", MIGD_UNIT_COUNT},
    {"hwpt", "HWPT", MIGD_UNIT_COUNT},
    {"tracker", "TRACKED BY", UNIT_TEXT},
    {"state", "STATE MOVED", UNIT_BOOL},
    {"split", "SPLIT", UNIT_BOOL},
    {"map-memory", "MAPPED BY MIGD", UNIT_BOOL},
};
static const struct column tracker_columns[] = {
    {"name", "TRACKER", UNIT_TEXT},
    {"kind", "KIND", UNIT_TEXT},
    {"device", "DEVICE", UNIT_TEXT},
    {"started", "ON", UNIT_BOOL},
    {"page-size", "PAGE SIZE", MIGD_UNIT_BYTES},
    {"blind", "BLIND", UNIT_BOOL},
    {"harvests", "HARVESTS", MIGD_UNIT_COUNT},
    {"pages-reported", "PAGES REPORTED", MIGD_UNIT_PAGES},
    {"pages-first", "REPORTED FIRST", MIGD_UNIT_PAGES},
    {"gate-pages", "AT THE GATE", MIGD_UNIT_PAGES},
};

static void print_section(struct json_object *domain, const char *key, const struct column *columns, size_t n)
{
    struct json_object *rows = json_get(domain, key);
    if (!json_length(rows))
        return;
    putchar('\n');
    table_print(stdout, 0, columns, n, rows);
}

static int show_domain(sd_bus *bus, const char *path, struct mig_error *err)
{
    _cleanup_json_ struct json_object *domain = NULL;
    int r = bus_properties(bus, path, MIGD_IFACE_DOMAIN, &domain, err);
    if (r < 0)
        return r;
    if (arg_json) {
        output_json(domain);
        return 0;
    }
    fields_print(stdout, 0, domain_fields, ELEMENTS(domain_fields), domain);
    print_section(domain, "Memory", memory_columns, ELEMENTS(memory_columns));
    print_section(domain, "Devices", device_columns, ELEMENTS(device_columns));
    print_section(domain, "Opened", opened_columns, ELEMENTS(opened_columns));
    print_section(domain, "Trackers", tracker_columns, ELEMENTS(tracker_columns));
    const char *migration = json_str(domain, "Migration");
    if (strncmp(migration, MIGD_BUS_MIGRATION_PREFIX "/", strlen(MIGD_BUS_MIGRATION_PREFIX) + 1) != 0)
        return 0;
    _cleanup_json_ struct json_object *status = NULL;
    if ((r = bus_migration_status(bus, migration, &status, err)) < 0)
        return r;
    putchar('\n');
    status_print(stdout, status);
    return 0;
}

static int show_migration(sd_bus *bus, const char *path, struct mig_error *err)
{
    _cleanup_json_ struct json_object *status = NULL;
    int r = bus_migration_status(bus, path, &status, err);
    if (r < 0)
        return r;
    if (arg_json)
        output_json(status);
    else
        status_print(stdout, status);
    return 0;
}

int verb_show(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_free_ char *path = NULL;
    const char *name = args->positional[0];
    if (bus_open(&bus, &err) < 0)
        return output_error(&err);
    int r = bus_domain_path(bus, name, &path, &err);
    if (r == 0) {
        r = show_domain(bus, path, &err);
    } else if (err.code == MIG_ERR_NO_SUCH_DOMAIN || err.code == MIG_ERR_INVALID_ARGUMENT) {
        mig_error_clear(&err);
        r = bus_migration_path(bus, name, &path, &err);
        if (r == 0) {
            r = show_migration(bus, path, &err);
        } else if (err.code == MIG_ERR_NO_SUCH_MIGRATION) {
            mig_error_set(&err, MIG_ERR_NO_SUCH_OBJECT, 0, "there is no domain and no migration \"%.64s\"",
                          name);
            mig_error_hint(&err, "migctl list shows what there is");
        }
    }
    if (r < 0)
        return output_error(&err);
    return output_finish();
}

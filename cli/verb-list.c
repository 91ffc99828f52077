/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl list: domains and migrations, a line each. */
#include "bus.h"
#include "json-util.h"
#include "output.h"
#include "table.h"
#include "verbs.h"
#include <string.h>

static const struct column domain_columns[] = {
    {"Name", "DOMAIN", UNIT_TEXT},
    {"State", "STATE", UNIT_TEXT},
    {"memory-size", "MEMORY", MIGD_UNIT_BYTES},
    {"devices", "DEVICES", MIGD_UNIT_COUNT},
    {"trackers", "TRACKERS", MIGD_UNIT_COUNT},
    {"Problem", "PROBLEM", UNIT_TEXT},
};
static const struct column migration_columns[] = {
    {"Id", "MIGRATION", UNIT_TEXT},
    {"Domain", "DOMAIN", UNIT_TEXT},
    {"Direction", "DIRECTION", UNIT_TEXT},
    {"Peer", "PEER", UNIT_TEXT},
    {"State", "STATE", UNIT_TEXT},
    {"Phase", "PHASE", UNIT_TEXT},
    {"Downtime", "DOWNTIME", MIGD_UNIT_USEC},
};

/* Figures of the table that are not properties of their own. */
static void add_sums(struct json_object *domain)
{
    uint64_t bytes = 0;
    struct json_object *memory = json_get(domain, "Memory");
    for (size_t i = 0; i < json_length(memory); i++)
        bytes += json_u64(json_object_array_get_idx(memory, i), "size");
    json_object_object_add(domain, "memory-size", json_object_new_uint64(bytes));
    json_object_object_add(domain, "devices",
                           json_object_new_uint64(json_length(json_get(domain, "Devices"))));
    json_object_object_add(domain, "trackers",
                           json_object_new_uint64(json_length(json_get(domain, "Trackers"))));
}

static int by_name(const void *a, const void *b)
{
    struct json_object *const *x = a, *const *y = b;
    return strcmp(json_str(*x, "Name"), json_str(*y, "Name"));
}

static int by_start(const void *a, const void *b)
{
    struct json_object *const *x = a, *const *y = b;
    uint64_t s = json_u64(json_get(*x, "Status"), "started"), t = json_u64(json_get(*y, "Status"), "started");
    return s < t ? -1 : s > t;
}

static void print_text(struct json_object *domains, struct json_object *migrations, bool with_domains,
                       bool with_migrations)
{
    if (with_domains) {
        if (json_length(domains) == 0)
            puts("No domains.");
        else
            table_print(stdout, 0, domain_columns, ELEMENTS(domain_columns), domains);
    }
    if (with_domains && with_migrations)
        putchar('\n');
    if (with_migrations) {
        if (json_length(migrations) == 0)
            puts("No migrations.");
        else
            table_print(stdout, 0, migration_columns, ELEMENTS(migration_columns), migrations);
    }
}

static void print_json(struct json_object *domains, struct json_object *migrations, bool with_domains,
                       bool with_migrations)
{
    _cleanup_json_ struct json_object *o = json_object_new_object();
    if (with_domains)
        json_object_object_add(o, "domains", json_object_get(domains));
    if (with_migrations)
        json_object_object_add(o, "migrations", json_object_get(migrations));
    output_json(o);
}

int verb_list(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_json_ struct json_object *domains = NULL, *migrations = NULL;
    const char *what = args->n_positional ? args->positional[0] : "";
    bool only_domains = strcmp(what, "domains") == 0, only_migrations = strcmp(what, "migrations") == 0;
    if (*what && !only_domains && !only_migrations) {
        mig_error_set(&err, MIG_ERR_INVALID_ARGUMENT, 0, "cannot list %.64s", what);
        mig_error_hint(&err, "migctl list [domains|migrations]; migctl show %.64s shows one of them", what);
        return output_error(&err);
    }
    if (bus_open(&bus, &err) < 0 || bus_objects(bus, &domains, &migrations, &err) < 0)
        return output_error(&err);
    json_object_array_sort(domains, by_name);
    json_object_array_sort(migrations, by_start);
    if (arg_json) {
        print_json(domains, migrations, !only_migrations, !only_domains);
    } else {
        for (size_t i = 0; i < json_length(domains); i++)
            add_sums(json_object_array_get_idx(domains, i));
        print_text(domains, migrations, !only_migrations, !only_domains);
    }
    return output_finish();
}

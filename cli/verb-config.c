/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl config: the configuration of the daemon that runs, and where each value comes from. */
#include "bus-json.h"
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "table.h"
#include "verbs.h"
#include <stdio.h>
#include <string.h>

static const struct column columns[] = {
    {"name", "KEY", UNIT_TEXT},
    {"value", "VALUE", UNIT_TEXT},
    {"origin", "ORIGIN", UNIT_TEXT},
};

static int ask(sd_bus *bus, struct json_object **ret, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *call = NULL, *reply = NULL;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "GetConfiguration", &call, err);
    if (r < 0)
        return r;
    r = sd_bus_message_append(call, "a{sv}", 0);
    if (r < 0)
        return bus_message_failed(r, err);
    r = bus_call(bus, call, BUS_CALL_TIMEOUT_USEC, &reply, err);
    if (r < 0)
        return r;
    r = bus_read_json(reply, ret);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

/* "Migration.MaxDowntime" or "MaxDowntime", as written or not. */
static bool is_named(struct json_object *setting, const char *word)
{
    const char *dot = strchr(word, '.'), *section = json_str(setting, "section");
    if (!dot)
        return strcasecmp(json_str(setting, "key"), word) == 0 || strcasecmp(section, word) == 0;
    return strlen(section) == (size_t)(dot - word) && strncasecmp(section, word, strlen(section)) == 0 &&
           strcasecmp(json_str(setting, "key"), dot + 1) == 0;
}

static int pick(struct json_object *all, const char *word, struct json_object **ret, struct mig_error *err)
{
    struct json_object *some = json_object_new_array();
    for (size_t i = 0; i < json_length(all); i++) {
        struct json_object *setting = json_object_array_get_idx(all, i);
        if (!word || is_named(setting, word))
            json_object_array_add(some, json_object_get(setting));
    }
    *ret = some;
    if (!word || json_length(some) > 0)
        return 0;
    int r = mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0, "there is no key or section %.64s", word);
    mig_error_hint(err, "migctl config shows all of them");
    return r;
}

static void add_names(struct json_object *settings)
{
    for (size_t i = 0; i < json_length(settings); i++) {
        struct json_object *o = json_object_array_get_idx(settings, i);
        char name[128];
        snprintf(name, sizeof name, "%.50s.%.70s", json_str(o, "section"), json_str(o, "key"));
        json_object_object_add(o, "name", json_object_new_string(name));
    }
}

int verb_config(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_json_ struct json_object *all = NULL, *some = NULL;
    if (bus_open(&bus, &err) < 0 || ask(bus, &all, &err) < 0 ||
        pick(all, args->n_positional ? args->positional[0] : NULL, &some, &err) < 0)
        return output_error(&err);
    if (arg_json) {
        output_json(some);
    } else {
        add_names(some);
        table_print(stdout, 0, columns, ELEMENTS(columns), some);
    }
    return output_finish();
}

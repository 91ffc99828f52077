/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl link-test: what the link to another host gives, and what that means for a migration. */
#include "base/format.h"
#include "bus-json.h"
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "table.h"
#include "verbs.h"
#include <stdio.h>
#include <string.h>

#define GIB (1024.0 * 1024 * 1024)

static const struct column step_columns[] = {
    {"connections", "CONNECTIONS", MIGD_UNIT_COUNT},
    {"bandwidth", "BANDWIDTH", MIGD_UNIT_RATE},
    {"bytes", "SENT", MIGD_UNIT_BYTES},
    {"sender-cpu-per-gib", "CPU PER GIB HERE", MIGD_UNIT_USEC},
    {"receiver-cpu-per-gib", "CPU PER GIB THERE", MIGD_UNIT_USEC},
};
static const struct column link_fields[] = {
    {"transport", "Transport", UNIT_TEXT},
    {"cipher", "Cipher", UNIT_TEXT},
    {"round-trip", "Round trip", MIGD_UNIT_USEC},
    {"loaded-round-trip", "Round trip when full", MIGD_UNIT_USEC},
    {"retransmissions", "Sent again by TCP", MIGD_UNIT_COUNT},
};
static const struct column domain_fields[] = {
    {"memory", "Memory to send", MIGD_UNIT_BYTES},
    {"device-state", "Device state", MIGD_UNIT_BYTES},
    {"full-send", "Sending all of it once", MIGD_UNIT_USEC},
    {"blackout", "Blackout at least", MIGD_UNIT_USEC},
};

static int ask(sd_bus *bus, const struct args *args, struct json_object **ret_link,
               struct json_object **ret_steps, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    const char *domain = args_value(args, OPT_DOMAIN);
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "LinkTest", &m, err);
    if (r < 0)
        return r;
    r = domain ? sd_bus_message_append(m, "sa{sv}", args->positional[0], 1, "domain", "s", domain)
               : sd_bus_message_append(m, "sa{sv}", args->positional[0], 0);
    if (r < 0)
        return bus_message_failed(r, err);
    r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, &reply, err);
    if (r < 0)
        return r;
    r = bus_read_json(reply, ret_link);
    if (r >= 0)
        r = bus_read_json(reply, ret_steps);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

static void add_per_gib(struct json_object *step, const char *from, const char *to)
{
    double gib = (double)json_u64(step, "bytes") / GIB;
    if (gib > 0)
        json_object_object_add(step, to,
                               json_object_new_uint64((uint64_t)((double)json_u64(step, from) / gib)));
}

/* A cap that was reached is what was measured, not the link. */
static bool capped(struct json_object *link)
{
    uint64_t cap = json_u64(link, "cap");
    return cap && json_u64(link, "bandwidth") >= cap - cap / 10;
}

static void print_all(const char *host, struct json_object *link, struct json_object *steps)
{
    uint64_t connections = json_u64(link, "connections");
    for (size_t i = 0; i < json_length(steps); i++) {
        add_per_gib(json_object_array_get_idx(steps, i), "sender-cpu", "sender-cpu-per-gib");
        add_per_gib(json_object_array_get_idx(steps, i), "receiver-cpu", "receiver-cpu-per-gib");
    }
    table_print(stdout, 0, step_columns, ELEMENTS(step_columns), steps);
    putchar('\n');
    fields_print(stdout, 0, link_fields, ELEMENTS(link_fields), link);
    if (json_get(link, "memory"))
        fields_print(stdout, 0, domain_fields, ELEMENTS(domain_fields), link);
    printf("\nA migration to %s may expect %s with %llu connection%s%s.\n", host,
           FORMAT_RATE(json_u64(link, "bandwidth")), (unsigned long long)connections,
           connections == 1 ? "" : "s",
           capped(link) ? ", which is what TotalBandwidth= allows: the link may give more" : "");
}

int verb_link_test(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_json_ struct json_object *link = NULL, *steps = NULL;
    if (bus_open(&bus, &err) < 0 || ask(bus, args, &link, &steps, &err) < 0)
        return output_error(&err);
    if (arg_json) {
        json_object_object_add(link, "host", json_object_new_string(args->positional[0]));
        json_object_object_add(link, "steps", json_object_get(steps));
        output_json(link);
    } else {
        print_all(args->positional[0], link, steps);
    }
    return output_finish();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl check: what would be in the way of a migration, and what it would cost, with a verdict. */
#include "bus-json.h"
#include "bus.h"
#include "check-report.h"
#include "json-util.h"
#include "migd-bus.h"
#include "migration-options.h"
#include "output.h"
#include "verbs.h"
#include "vm.h"

static int ask(sd_bus *bus, const char *domain, const struct args *args, struct json_object **ret,
               struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "Check", &m, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_append(m, "s", args->n_positional > 1 ? args->positional[1] : "")) < 0)
        return bus_message_failed(r, err);
    if ((r = migration_options_append(m, args, err)) < 0)
        return r;
    if ((r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, &reply, err)) < 0)
        return r;
    return (r = bus_read_json(reply, ret)) < 0 ? bus_message_failed(r, err) : 0;
}

int verb_check(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_json_ struct json_object *findings = NULL;
    _cleanup_free_ char *path = NULL;
    bool vm;
    const char *destination = args->n_positional > 1 ? args->positional[1] : "";
    if (bus_open(&bus, &err) < 0 || vm_find(bus, args, &path, &vm, &err) < 0)
        return output_error(&err);
    if (vm)
        return vm_report(bus, args, destination, false);
    if (ask(bus, path, args, &findings, &err) < 0)
        return output_error(&err);
    int code = check_report(args->positional[0], destination, findings, NULL), r = output_finish();
    return r != MIGD_EXIT_DONE ? r : code;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm.h"
#include "bus-json.h"
#include "bus.h"
#include "check-report.h"
#include "json-util.h"
#include "migd-bus.h"
#include "migration-options.h"
#include "output.h"
#include "table.h"
#include <stdio.h>
#include <string.h>

static const enum option_id only_vm[] = {OPT_ENGINE, OPT_PERSISTENT, OPT_UNDEFINE_SOURCE, OPT_AUTO_CONVERGE,
                                         OPT_DRY_RUN};

/* Registered by libvirt's hook. */
static bool is_guest(sd_bus *bus, const char *path)
{
    _cleanup_json_ struct json_object *o = NULL;
    struct mig_error ignored = MIG_ERROR_INIT;
    return bus_properties(bus, path, MIGD_IFACE_DOMAIN, &o, &ignored) == 0 &&
           strcmp(json_str(o, "Controller"), "libvirt") == 0;
}

int vm_find(sd_bus *bus, const struct args *args, char **ret_path, bool *ret_vm, struct mig_error *err)
{
    const char *name = args->positional[0];
    struct mig_error said = MIG_ERROR_INIT;
    int r = bus_domain_path(bus, name, ret_path, &said);
    *ret_vm = r < 0 ? said.code == MIG_ERR_NO_SUCH_DOMAIN : is_guest(bus, *ret_path);
    if (*ret_vm)
        return 0;
    if (r < 0) {
        *err = said;
        return r;
    }
    for (size_t i = 0; r == 0 && i < ELEMENTS(only_vm); i++)
        if (args_has(args, only_vm[i])) {
            r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                              "%.80s is a domain of migd's own: --%s is for those of libvirt", name,
                              args_option_name(only_vm[i]));
            mig_error_hint(err, "migctl check %.80s says what a migration would meet", name);
            return r;
        }
    return 0;
}

/* Where nobody spoke of libvirt, a host without it has simply no such domain. */
static void explain_missing(const char *name, struct mig_error *err)
{
    struct mig_error said = *err;
    if (said.code == MIG_ERR_NO_SUCH_DOMAIN) {
        mig_error_set(err, MIG_ERR_NO_SUCH_DOMAIN, 0,
                      "there is no domain named %.80s: none is registered, and %s", name, said.message);
        mig_error_hint(err, "migctl list shows those that are registered; %s", said.hint);
    } else if (said.code == MIG_ERR_NOT_SUPPORTED || said.code == MIG_ERR_PEER_UNREACHABLE) {
        mig_error_set(err, MIG_ERR_NO_SUCH_DOMAIN, 0, "there is no domain named %.80s registered, and %s",
                      name, said.message);
        mig_error_hint(err, "migctl list shows those that are registered%s%s", said.hint[0] ? "; " : "",
                       said.hint);
    }
}

static int call(sd_bus *bus, const char *method, const struct args *args, const char *name, const char *host,
                const char *const *flags, sd_bus_message **ret, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, method, &m, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_append(m, "ss", name, host)) < 0)
        return bus_message_failed(r, err);
    if ((r = migration_options_append_and(m, args, flags, err)) < 0)
        return r;
    r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, ret, err);
    if (r < 0 && !args_has(args, OPT_ENGINE))
        explain_missing(name, err);
    return r;
}

int vm_begin(sd_bus *bus, const struct args *args, const char *name, const char *host,
             const char *const *flags, char **ret_path, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    const char *path;
    int r = call(bus, "StartVm", args, name, host, flags, &reply, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_read(reply, "o", &path)) < 0)
        return bus_message_failed(r, err);
    *ret_path = strdup(path);
    return *ret_path ? 0 : mig_error_oom(err);
}

int vm_rehearse(sd_bus *bus, const struct args *args, const char *name, const char *host,
                const char *const *flags, struct json_object **ret_findings, struct json_object **ret_plan,
                struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    int r = call(bus, "CheckVm", args, name, host, flags, &reply, err);
    if (r < 0)
        return r;
    if ((r = bus_read_json(reply, ret_findings)) < 0 || (r = bus_read_json(reply, ret_plan)) < 0)
        return bus_message_failed(r, err);
    return 0;
}

int vm_all(sd_bus *bus, struct json_object **ret, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "ListVms", &m, err);
    if (r < 0)
        return r;
    if ((r = sd_bus_message_append(m, "a{sv}", 0)) < 0)
        return bus_message_failed(r, err);
    if ((r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, &reply, err)) < 0)
        return r;
    return (r = bus_read_json(reply, ret)) < 0 ? bus_message_failed(r, err) : 0;
}

static void print_plan(struct json_object *plan)
{
    static const struct column fields[] = {
        {"engine", "Engine", UNIT_TEXT},
        {"why", "Because", UNIT_TEXT},
        {"uri", "From", UNIT_TEXT},
        {"destination-uri", "To", UNIT_TEXT},
        {"data-uri", "Memory over", UNIT_TEXT},
        {"peer-domain", "Name there", UNIT_TEXT},
        {"flags", "Flags", UNIT_LIST},
        {"memory", "Memory", MIGD_UNIT_BYTES},
        {"bandwidth", "Bandwidth at most", MIGD_UNIT_RATE},
        {"max-downtime", "Downtime at most", MIGD_UNIT_USEC},
        {"connections", "Connections", MIGD_UNIT_COUNT},
        {"command", "As virsh would do", UNIT_TEXT},
    };
    putchar('\n');
    fields_print(stdout, 0, fields, ELEMENTS(fields), plan);
}

int vm_report(sd_bus *bus, const struct args *args, const char *host, bool plan)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_json_ struct json_object *findings = NULL, *made = NULL;
    const char *name = args->positional[0];
    if (!*host) {
        mig_error_set(&err, MIG_ERR_NO_SUCH_DOMAIN, 0, "there is no domain named %.80s registered", name);
        mig_error_hint(
            &err, "migctl list shows those that are; for a libvirt domain: migctl check %.80s HOST", name);
        return output_error(&err);
    }
    if (vm_rehearse(bus, args, name, host, NULL, &findings, &made, &err) < 0)
        return output_error(&err);
    int code = check_report(name, host, findings, made);
    if (plan && !arg_json)
        print_plan(made);
    int r = output_finish();
    return r != MIGD_EXIT_DONE ? r : code;
}

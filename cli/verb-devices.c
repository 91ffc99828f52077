/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl devices: the VFIO-capable devices of this host, and whether they can migrate. */
#include "bus-json.h"
#include "bus.h"
#include "findings-view.h"
#include "json-util.h"
#include "migd-bus.h"
#include "output.h"
#include "table.h"
#include "verbs.h"
#include <inttypes.h>
#include <string.h>

/* Keys in capitals are made here, from several facts. */
static const struct column columns[] = {
    {"address", "DEVICE", UNIT_TEXT},
    {"ID", "ID", UNIT_TEXT},
    {"driver", "DRIVER", UNIT_TEXT},
    {"group", "GROUP", UNIT_TEXT},
    {"numa-node", "NODE", MIGD_UNIT_COUNT},
    {"migration-flags", "MIGRATION", UNIT_LIST},
    {"stop-copy-size", "STATE", MIGD_UNIT_BYTES},
    {"TRACKING", "DIRTY TRACKING", UNIT_TEXT},
    {"HOLDERS", "HELD BY", UNIT_TEXT},
    {"VERDICT", "VERDICT", UNIT_TEXT},
};
static const struct column fields[] = {
    {"address", "Device", UNIT_TEXT},
    {"VERDICT", "Verdict", UNIT_TEXT},
    {"reason", "Because", UNIT_TEXT},
    {"ID", "Vendor and device", UNIT_TEXT},
    {"SUBSYSTEM", "Subsystem", UNIT_TEXT},
    {"CLASS", "Class", UNIT_TEXT},
    {"vendor-name", "Vendor name", UNIT_TEXT},
    {"device-name", "Device name", UNIT_TEXT},
    {"type", "Type", UNIT_TEXT},
    {"parent", "Parent", UNIT_TEXT},
    {"physical-function", "Physical function", UNIT_TEXT},
    {"virtual-functions", "Virtual functions", MIGD_UNIT_COUNT},
    {"virtual-functions-max", "  at most", MIGD_UNIT_COUNT},
    {"virtual-function-driver", "  their variant", UNIT_TEXT},
    {"driver", "Driver", UNIT_TEXT},
    {"variant-driver", "Variant driver", UNIT_TEXT},
    {"cdev", "Cdev", UNIT_TEXT},
    {"numa-node", "NUMA node", MIGD_UNIT_COUNT},
    {"iommu", "IOMMU", UNIT_TEXT},
    {"iommu-dirty-bits", "  has dirty bits", UNIT_BOOL},
    {"group", "IOMMU group", UNIT_TEXT},
    {"MEMBERS", "  members", UNIT_TEXT},
    {"group-viable", "  viable", UNIT_BOOL},
    {"HOLDERS", "Held by", UNIT_TEXT},
    {"probe", "Asked", UNIT_TEXT},
    {"probe-error", "  it failed", UNIT_TEXT},
    {"migration", "Migration", UNIT_BOOL},
    {"migration-flags", "  states", UNIT_LIST},
    {"stop-copy-size", "  size of state", MIGD_UNIT_BYTES},
    {"device-log", "Own dirty log", UNIT_BOOL},
    {"iommu-dirty-tracking", "IOMMU tracks", UNIT_BOOL},
    {"container-dirty-tracking", "Container tracks", UNIT_BOOL},
};

/* ---- asking ---- */

static int append_options(sd_bus_message *m, const struct args *args)
{
    char addresses[4096] = "";
    size_t n = 0;
    for (int i = 0; i < args->n_positional; i++) {
        n += (size_t)snprintf(addresses + n, sizeof addresses - n, "%s%s", i ? " " : "", args->positional[i]);
        if (n >= sizeof addresses)
            return -E2BIG;
    }
    return sd_bus_message_append(m, "a{sv}", 3, "all", "b", (int)args_has(args, OPT_ALL), "probe", "b",
                                 (int)!args_has(args, OPT_NO_PROBE), "addresses", "s", addresses);
}

static int ask(sd_bus *bus, const struct args *args, struct json_object **ret_devices,
               struct json_object **ret_findings, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *call = NULL, *reply = NULL;
    _cleanup_json_ struct json_object *devices = NULL;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "ListDevices", &call, err);
    if (r < 0)
        return r;
    r = append_options(call, args);
    if (r < 0)
        return bus_message_failed(r, err);
    r = bus_call(bus, call, BUS_CALL_TIMEOUT_USEC, &reply, err);
    if (r < 0)
        return r;
    r = bus_read_json(reply, &devices);
    if (r == 0)
        r = bus_read_json(reply, ret_findings);
    if (r < 0)
        return bus_message_failed(r, err);
    *ret_devices = TAKE_PTR(devices);
    return 0;
}

/* ---- cells ---- */

static void set_text(struct json_object *o, const char *key, const char *text)
{
    if (*text)
        json_object_object_add(o, key, json_object_new_string(text));
}

static void add_ids(struct json_object *o)
{
    char text[64] = "";
    if (json_u64(o, "vendor"))
        snprintf(text, sizeof text, "%04" PRIx64 ":%04" PRIx64, json_u64(o, "vendor"), json_u64(o, "device"));
    set_text(o, "ID", text);
    if (json_u64(o, "subsystem-vendor")) {
        snprintf(text, sizeof text, "%04" PRIx64 ":%04" PRIx64, json_u64(o, "subsystem-vendor"),
                 json_u64(o, "subsystem-device"));
        set_text(o, "SUBSYSTEM", text);
    }
    if (json_get(o, "class")) {
        char name[200];
        snprintf(name, sizeof name, "%06" PRIx64 " %.150s", json_u64(o, "class"), json_str(o, "class-name"));
        set_text(o, "CLASS", name);
    }
}

static void add_tracking(struct json_object *o)
{
    char text[64] = "";
    bool log = json_flag(o, "device-log"), iommu = json_flag(o, "iommu-dirty-tracking");
    bool container = json_flag(o, "container-dirty-tracking");
    snprintf(text, sizeof text, "%s%s%s", log ? "log" : "", log && (iommu || container) ? ", " : "",
             iommu       ? "iommu"
             : container ? "container"
                         : "");
    if (!*text && json_get(o, "device-log"))
        snprintf(text, sizeof text, "none");
    set_text(o, "TRACKING", text);
}

static void add_holders(struct json_object *o)
{
    char text[512] = "";
    size_t n = 0;
    struct json_object *holders = json_get(o, "holders");
    if (*json_str(o, "domain"))
        n += (size_t)snprintf(text, sizeof text, "domain %.64s", json_str(o, "domain"));
    for (size_t i = 0; i < json_length(holders) && n < sizeof text; i++) {
        struct json_object *h = json_object_array_get_idx(holders, i);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s (pid %" PRIu64 ")", n ? ", " : "",
                              *json_str(h, "command") ? json_str(h, "command") : "a process",
                              json_u64(h, "pid"));
    }
    if (!*text && strcmp(json_str(o, "probe"), "held") == 0)
        snprintf(text, sizeof text, "somebody unknown");
    set_text(o, "HOLDERS", text);
}

static void add_members(struct json_object *o)
{
    char text[512] = "";
    size_t n = 0;
    struct json_object *members = json_get(o, "group-members");
    for (size_t i = 0; i < json_length(members) && n < sizeof text; i++) {
        struct json_object *m = json_object_array_get_idx(members, i);
        const char *driver = json_str(m, "driver");
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%s%s%s", n ? ", " : "", json_str(m, "address"),
                              *driver ? " (" : "", driver, *driver ? ")" : "");
    }
    set_text(o, "MEMBERS", text);
}

static void add_verdict(struct json_object *o)
{
    static const struct {
        const char *word, *text;
    } texts[] = {{"can-migrate", "can migrate"},
                 {"cannot-converge", "can migrate, but not converge"},
                 {"cannot-migrate", "cannot migrate"},
                 {"not-known", "not known"}};
    const char *word = json_str(o, "verdict");
    set_text(o, "VERDICT", word); /* a newer daemon's, perhaps */
    for (size_t i = 0; i < ELEMENTS(texts); i++)
        if (strcmp(texts[i].word, word) == 0)
            set_text(o, "VERDICT", texts[i].text);
}

/* ---- printing ---- */

/* What is wrong, each thing once: hosts have dozens of functions of a kind. */
static void print_problems(struct json_object *devices)
{
    _cleanup_json_ struct json_object *seen = json_object_new_object();
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < json_length(devices); i++) {
            struct json_object *list = json_get(json_object_array_get_idx(devices, i), "findings");
            for (size_t k = 0; k < json_length(list); k++) {
                struct json_object *finding = json_object_array_get_idx(list, k);
                const char *code = json_str(finding, "code");
                uint64_t count = json_u64(seen, code);
                if (strcmp(json_str(finding, "severity"), "note") == 0)
                    continue;
                if (pass == 0) {
                    json_object_object_add(seen, code, json_object_new_uint64(count + 1));
                } else if (count) {
                    finding_print(stdout, 0, finding, count - 1);
                    json_object_object_add(seen, code, json_object_new_uint64(0));
                }
            }
        }
}

static void print_details(struct json_object *devices)
{
    for (size_t i = 0; i < json_length(devices); i++) {
        struct json_object *device = json_object_array_get_idx(devices, i);
        if (i)
            putchar('\n');
        fields_print(stdout, 0, fields, ELEMENTS(fields), device);
        findings_print(stdout, 2, json_get(device, "findings"));
    }
}

static void print_text(struct json_object *devices, struct json_object *findings, bool details)
{
    for (size_t i = 0; i < json_length(devices); i++) {
        struct json_object *device = json_object_array_get_idx(devices, i);
        add_ids(device);
        add_tracking(device);
        add_holders(device);
        add_members(device);
        add_verdict(device);
    }
    if (json_length(devices) == 0)
        puts("No devices.");
    else if (details)
        print_details(devices);
    else
        table_print(stdout, 0, columns, ELEMENTS(columns), devices);
    if (json_length(devices) && (json_length(findings) || !details))
        putchar('\n');
    if (!details)
        print_problems(devices);
    findings_print(stdout, 0, findings);
}

int verb_devices(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_json_ struct json_object *devices = NULL, *findings = NULL;
    if (bus_open(&bus, &err) < 0 || ask(bus, args, &devices, &findings, &err) < 0)
        return output_error(&err);
    if (arg_json) {
        _cleanup_json_ struct json_object *o = json_object_new_object();
        json_object_object_add(o, "devices", json_object_get(devices));
        json_object_object_add(o, "findings", json_object_get(findings));
        output_json(o);
    } else {
        print_text(devices, findings, args->n_positional || args_has(args, OPT_DETAILS));
    }
    return output_finish();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl open: has migd open a kernel VFIO device for a domain, and says what became of it. */
#include "bus.h"
#include "domain-fields.h"
#include "json-util.h"
#include "output.h"
#include "register-kernel.h"
#include "table.h"
#include "verbs.h"
#include <stdio.h>
#include <string.h>

static const struct column fields[] = {
    {"name", "Device", UNIT_TEXT},
    {"address", "Address", UNIT_TEXT},
    {"driver", "Driver", UNIT_TEXT},
    {"interface", "Interface", UNIT_TEXT},
    {"container", "Container", UNIT_TEXT},
    {"group", "IOMMU group", MIGD_UNIT_COUNT},
    {"ioas", "IOAS", MIGD_UNIT_COUNT},
    {"hwpt", "HWPT", MIGD_UNIT_COUNT},
    {"devid", "Device id", MIGD_UNIT_COUNT},
    {"tracker", "Tracked by", UNIT_TEXT},
    {"dirty-tracking", "In dirty bits", UNIT_BOOL},
    {"split", "Split", UNIT_BOOL},
    {"map-memory", "Mapped by migd", UNIT_BOOL},
    {"state", "State is moved", UNIT_BOOL},
};

/* Each is a key of a device in a domain file, where it has the same meaning. */
static int read_options(const struct args *args, struct spec_device *d, struct mig_error *err)
{
    static const struct {
        enum option_id id;
        const char *key;
    } texts[] = {{OPT_NAME, "name"},
                 {OPT_INTERFACE, "interface"},
                 {OPT_INTO, "container"},
                 {OPT_TRACKED_BY, "tracker"},
                 {OPT_DIRTY_TRACKING, "dirty-tracking"}},
      flags[] = {{OPT_SPLIT, "split"},
                 {OPT_OWN_HWPT, "own-hwpt"},
                 {OPT_MAP_MEMORY, "map-memory"},
                 {OPT_WITHOUT_STATE, "no-state"}};
    int r = field_set_text(&device_fields, d, "device", "address", args->positional[1], err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(texts); i++)
        if (args_has(args, texts[i].id))
            r = field_set_text(&device_fields, d, "device", texts[i].key, args_value(args, texts[i].id), err);
    for (size_t i = 0; r == 0 && i < ELEMENTS(flags); i++)
        if (args_has(args, flags[i].id))
            r = field_set_flag(&device_fields, d, "device", flags[i].key, err);
    if (r < 0 || d->name)
        return r;
    /* A path is no name, and its last part is. */
    const char *slash = strrchr(d->address, '/');
    d->name = strdup(slash ? slash + 1 : d->address);
    return d->name ? 0 : mig_error_oom(err);
}

static void device_done(struct spec_device *d)
{
    char *texts[] = {d->name, d->address, d->interface, d->container, d->tracker};
    for (size_t i = 0; i < ELEMENTS(texts); i++)
        free(texts[i]);
}

int verb_open(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_(device_done) struct spec_device device = {.state = true, .precopy = true, .map = true};
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_free_ char *path = NULL;
    _cleanup_json_ struct json_object *info = NULL;
    if (read_options(args, &device, &err) < 0 || bus_open(&bus, &err) < 0 ||
        bus_domain_path(bus, args->positional[0], &path, &err) < 0 ||
        register_opened_device(bus, path, &device, &info, &err) < 0)
        return output_error(&err);
    if (arg_json) {
        output_json(info);
        return output_finish();
    }
    printf("%s\n", json_flag(info, "again") ? "It is open already:" : "Opened:");
    fields_print(stdout, 2, fields, ELEMENTS(fields), info);
    return output_finish();
}

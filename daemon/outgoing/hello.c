/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/hello.h"
#include "migd-wire.h"
#include "migration/dialogue.h"
#include <sys/stat.h>

/* Room for what a migration adds: id, token, address. */
#define HELLO_MAX_BYTES (WIRE_JSON_MAX_BYTES - 4096u)

static int add_iovas(struct json_object *o, const struct domain_memory *m)
{
    struct json_object *array = json_object_new_array();
    if (!array)
        return -ENOMEM;
    for (size_t i = 0; i < m->niovas; i++) {
        struct json_object *iova = json_object_new_uint64(m->iova[i]);
        if (!iova || json_object_array_add(array, iova) < 0) {
            json_object_put(iova);
            json_object_put(array);
            return -ENOMEM;
        }
    }
    return json_add(o, "iovas", array);
}

/* What helps to compare, and what a destination can do without. */
static int add_region_details(struct json_object *o, const struct domain_memory *m)
{
    struct stat st;
    int r = json_add_u64(o, "file-page-size", m->region->file_page_bytes);
    if (r == 0 && fstat(m->region->fd, &st) == 0)
        r = json_add_u64(o, "allocated", MIN((uint64_t)st.st_blocks * 512, m->region->size_bytes));
    return r == 0 ? add_iovas(o, m) : r;
}

static struct json_object *describe_region(const struct domain_memory *m, bool details)
{
    struct json_object *o = json_object_new_object();
    if (o && json_add_string(o, "name", m->region->name) == 0 &&
        json_add_u64(o, "size", m->region->size_bytes) == 0 && (!details || add_region_details(o, m) == 0))
        return o;
    json_object_put(o);
    return NULL;
}

static int add_device_details(struct json_object *o, struct device *d, const struct device_info *info)
{
    uint64_t bytes;
    int r = info->driver[0] ? json_add_string(o, "driver", info->driver) : 0;
    if (r == 0 && info->has_stop_copy_size && d->ops->stop_copy_size(d, &bytes, NULL) == 0)
        r = json_add_u64(o, "stop-copy-size", bytes);
    return r;
}

static struct json_object *describe_device(const struct domain_device *dd, bool details)
{
    struct device *d = dd->device;
    const struct device_info *info = d->ops->info(d);
    struct json_object *o = json_object_new_object();
    if (o && json_add_string(o, "name", d->name) == 0 && json_add_string(o, "kind", info->kind) == 0 &&
        json_add_u64(o, "migration-flags", info->migration_flags) == 0 &&
        json_add_u64(o, "vendor", info->pci_vendor) == 0 &&
        json_add_u64(o, "device", info->pci_device) == 0 &&
        json_add_u64(o, "subsystem-vendor", info->pci_subvendor) == 0 &&
        json_add_u64(o, "subsystem-device", info->pci_subdevice) == 0 &&
        json_add_u64(o, "revision", info->pci_revision) == 0 &&
        json_add_u64(o, "regions", info->num_regions) == 0 && json_add_u64(o, "irqs", info->num_irqs) == 0 &&
        json_add_bool(o, "precopy", domain_device_precopies(dd)) == 0 &&
        (!details || add_device_details(o, d, info) == 0))
        return o;
    json_object_put(o);
    return NULL;
}

static int append(struct json_object *array, struct json_object *item)
{
    if (item && array && json_object_array_add(array, item) == 0)
        return 0;
    json_object_put(item);
    return -ENOMEM;
}

static int add_allowed(struct json_object *o, const struct migration_options *options)
{
    struct json_object *array = json_object_new_array();
    int r = array ? 0 : -ENOMEM;
    for (int i = 0; i < FINDING_CODE_MAX && r == 0; i++)
        if (options->allow[i])
            r = append(array, json_object_new_string(finding_code_to_string((enum finding_code)i)));
    if (r < 0) {
        json_object_put(array);
        return r;
    }
    return json_add(o, "allow", array);
}

static struct json_object *make(struct domain *d, const struct migration_options *options, size_t connections,
                                bool details)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    struct json_object *regions = json_object_new_array(), *devices = json_object_new_array();
    int r = 0;
    for (size_t i = 0; i < d->nmemory && r == 0; i++)
        r = append(regions, describe_region(&d->memory[i], details));
    for (size_t i = 0; i < d->ndevices && r == 0; i++)
        r = append(devices, describe_device(&d->devices[i], details));
    if (!o) {
        json_object_put(regions);
        json_object_put(devices);
        return NULL;
    }
    /* json_add takes its value over even when it fails, and refuses NULL. */
    if ((json_add(o, "regions", regions) < 0) | (json_add(o, "devices", devices) < 0) || r < 0 ||
        json_add_u64(o, "protocol", DIALOGUE_PROTOCOL) < 0 ||
        json_add_u64(o, "protocol-oldest", DIALOGUE_PROTOCOL_OLDEST) < 0 ||
        json_add_string(o, "version", PACKAGE_VERSION) < 0 ||
        json_add_string(o, "domain", options->peer_domain[0] ? options->peer_domain : d->name) < 0 ||
        json_add_u64(o, "page-size", REGION_PAGE_SIZE) < 0 ||
        json_add_u64(o, "connections", connections) < 0 ||
        json_add_bool(o, "vmm-state", controller_has_state(d->controller)) < 0 ||
        json_add_string(o, "verify", verify_mode_to_string(options->verify)) < 0 ||
        add_allowed(o, options) < 0)
        return NULL;
    return TAKE_PTR(o);
}

struct json_object *hello_new(struct domain *d, const struct migration_options *o, size_t connections)
{
    struct json_object *hello = make(d, o, connections, true);
    size_t bytes = 0;
    if (!hello || !json_object_to_json_string_length(hello, JSON_C_TO_STRING_PLAIN, &bytes) ||
        bytes <= HELLO_MAX_BYTES)
        return hello;
    /* A thousand regions: a message has a limit, and the details are dispensable. */
    json_object_put(hello);
    return make(d, o, connections, false);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-devices.h"
#include "api/api-context.h"
#include "api/api-findings.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "api/api-policy.h"
#include "host/inventory.h"
#include "host/pci-function.h"
#include "host/verdict.h"
#include "libvirt/match.h"
#include "vfio/device.h"
#include <string.h>

#define NAMED_MAX 256u

/* What the helper works on: copies and references, nothing of a domain itself. */
struct known {
    char domain[DOMAIN_NAME_MAX + 1], name[DEVICE_NAME_MAX + 1];
};

struct listing {
    struct inventory_options options;
    struct inventory_known *known;
    struct known *names;
    char (*addresses)[HOST_NAME_MAX_BYTES];
    const char **only;
    struct inventory *inventory;
    char labels[256]; /* [Libvirt] DeviceLabels= */
};

/* ---- the call ---- */

static int take_addresses(struct listing *l, const char *text, struct mig_error *err)
{
    size_t n = 0;
    l->addresses = calloc(NAMED_MAX, sizeof *l->addresses);
    l->only = calloc(NAMED_MAX, sizeof *l->only);
    if (!l->addresses || !l->only)
        return mig_error_oom(err);
    for (const char *at = text + strspn(text, " "); *at; at += strspn(at, " ")) {
        char typed[HOST_NAME_MAX_BYTES];
        size_t length = strcspn(at, " ");
        if (n == NAMED_MAX)
            return mig_error_set(err, MIG_ERR_LIMIT, 0, "more than %u devices are named", NAMED_MAX);
        snprintf(typed, sizeof typed, "%.*s", (int)MIN(length, sizeof typed), at);
        if (length >= sizeof typed || !pci_address_complete(l->addresses[n], typed)) {
            int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                  "\"%.60s\" is not the address of a device", typed);
            mig_error_hint(err, "Addresses look like 0000:17:00.1, or are the UUID of a mediated device");
            return r;
        }
        l->only[n] = l->addresses[n];
        n++;
        at += length;
    }
    l->options.only = l->only;
    l->options.nonly = n;
    return 0;
}

static int take_known(struct listing *l, struct registry *registry)
{
    struct domain *d;
    size_t room = 0;
    for (size_t i = 0; (d = registry_nth(registry, i)); i++)
        room += d->ndevices;
    l->known = calloc(room + 1, sizeof *l->known);
    l->names = calloc(room + 1, sizeof *l->names);
    if (!l->known || !l->names)
        return -ENOMEM;
    for (size_t i = 0; (d = registry_nth(registry, i)); i++)
        for (size_t k = 0; k < d->ndevices; k++) {
            struct device *device = d->devices[k].device;
            if (!kvfio_device_is(device))
                continue;
            size_t n = l->options.nknown++;
            strcpy(l->names[n].domain, d->name);
            strcpy(l->names[n].name, device->name);
            l->known[n] = (struct inventory_known){.domain = l->names[n].domain,
                                                   .name = l->names[n].name,
                                                   .device = device_ref(device),
                                                   .busy = d->borrowed || d->job[0]};
        }
    l->options.known = l->known;
    return 0;
}

static void listing_free(void *work)
{
    struct listing *l = work;
    for (size_t i = 0; i < l->options.nknown; i++)
        device_unref(l->known[i].device);
    inventory_free(l->inventory);
    free(l->known);
    free(l->names);
    free(l->addresses);
    free(l->only);
    free(l);
}

static int run(void *work, struct mig_error *err)
{
    struct listing *l = work;
    return inventory_take(&l->inventory, &l->options, err);
}

static int finish(void *work, struct mig_error *err)
{
    return 0;
}

/* ---- the answer ---- */

static int open_value(sd_bus_message *m, const char *key, const char *type)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", key);
    return r < 0 ? r : sd_bus_message_open_container(m, 'v', type);
}

static int close_value(sd_bus_message *m)
{
    int r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int add_text(sd_bus_message *m, const char *key, const char *value)
{
    return *value ? sd_bus_message_append(m, "{sv}", key, "s", value) : 0;
}

static int add_fact(sd_bus_message *m, const char *key, enum fact f)
{
    return f == FACT_UNKNOWN ? 0 : sd_bus_message_append(m, "{sv}", key, "b", f == FACT_YES);
}

static int add_identity(sd_bus_message *m, const struct host_device *d)
{
    int r = sd_bus_message_append(m, "{sv}{sv}", "address", "s", d->address, "kind", "s",
                                  d->kind == HOST_MDEV ? "mdev" : "pci");
    if (r >= 0 && d->vendor)
        r = sd_bus_message_append(m, "{sv}{sv}", "vendor", "u", (uint32_t)d->vendor, "device", "u",
                                  (uint32_t)d->device);
    if (r >= 0 && d->kind == HOST_PCI)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}", "subsystem-vendor", "u", (uint32_t)d->subvendor,
                                  "subsystem-device", "u", (uint32_t)d->subdevice, "class", "u", d->class);
    const struct {
        const char *key, *value;
    } texts[] = {
        {"vendor-name", d->vendor_name},
        {"device-name", d->device_name},
        {"class-name", d->class_name},
        {"type", d->type},
        {"parent", d->parent},
        {"driver", d->driver},
        {"variant-driver", d->variant},
        {"physical-function", d->physical},
        {"virtual-function-driver", d->vf_variant},
        {"iommu", d->unit},
    };
    for (size_t i = 0; r >= 0 && i < ELEMENTS(texts); i++)
        r = add_text(m, texts[i].key, texts[i].value);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "vfio", "b", d->on_vfio);
    if (r >= 0 && d->numa_node >= 0)
        r = sd_bus_message_append(m, "{sv}", "numa-node", "u", (uint32_t)d->numa_node);
    if (r >= 0 && d->vfs_max)
        r = sd_bus_message_append(m, "{sv}{sv}", "virtual-functions", "u", d->vfs, "virtual-functions-max",
                                  "u", d->vfs_max);
    char cdev[sizeof d->cdev + 32] = "";
    if (d->cdev[0])
        snprintf(cdev, sizeof cdev, "/dev/vfio/devices/%s", d->cdev);
    return r < 0 ? r : add_text(m, "cdev", cdev);
}

static int add_group(sd_bus_message *m, const struct host_device *d)
{
    int r = add_text(m, "group", d->group);
    if (r >= 0)
        r = add_fact(m, "group-viable", d->viable);
    if (r >= 0)
        r = open_value(m, "group-members", "aa{sv}");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < d->nmembers; i++)
        r = sd_bus_message_append(m, "a{sv}", 3, "address", "s", d->members[i].address, "driver", "s",
                                  d->members[i].driver, "viable", "b", (int)d->members[i].viable);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : close_value(m);
}

static int add_holders(sd_bus_message *m, const struct host_device *d)
{
    int r = open_value(m, "holders", "aa{sv}");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < d->nholders; i++)
        r = sd_bus_message_append(m, "a{sv}", 3, "pid", "u", (uint32_t)d->holders[i].pid, "command", "s",
                                  d->holders[i].command, "by", "s", d->holders[i].by);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    if (r >= 0)
        r = close_value(m);
    if (r >= 0)
        r = add_text(m, "domain", d->domain);
    return r < 0 ? r : add_text(m, "domain-device", d->domain_device);
}

static int add_flags(sd_bus_message *m, uint32_t flags)
{
    static const struct {
        uint32_t flag;
        const char *word;
    } words[] = {{DEVICE_MIGRATION_STOP_COPY, "stop-copy"},
                 {DEVICE_MIGRATION_P2P, "p2p"},
                 {DEVICE_MIGRATION_PRE_COPY, "pre-copy"}};
    int r = open_value(m, "migration-flags", "as");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    for (size_t i = 0; r >= 0 && i < ELEMENTS(words); i++)
        if (flags & words[i].flag)
            r = sd_bus_message_append(m, "s", words[i].word);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : close_value(m);
}

static int add_abilities(sd_bus_message *m, const struct host_device *d)
{
    static const char *const probes[] = {
        [HOST_PROBE_SKIPPED] = "skipped", [HOST_PROBE_IMPOSSIBLE] = "impossible", [HOST_PROBE_HELD] = "held",
        [HOST_PROBE_LATE] = "late",       [HOST_PROBE_FAILED] = "failed",         [HOST_PROBE_CDEV] = "cdev",
        [HOST_PROBE_GROUP] = "group",     [HOST_PROBE_DOMAIN] = "domain"};
    int r = sd_bus_message_append(m, "{sv}", "probe", "s", probes[d->probe]);
    if (r >= 0)
        r = add_text(m, "probe-error", d->probe_error);
    if (r >= 0)
        r = add_fact(m, "migration", d->migration);
    if (r >= 0 && d->migration == FACT_YES)
        r = add_flags(m, d->migration_flags);
    if (r >= 0 && d->has_state_bytes)
        r = sd_bus_message_append(m, "{sv}", "stop-copy-size", "t", d->state_bytes);
    if (r >= 0)
        r = add_fact(m, "device-log", d->device_log);
    if (r >= 0)
        r = add_fact(m, d->kind == HOST_MDEV ? "container-dirty-tracking" : "iommu-dirty-tracking",
                     d->container_log);
    return r < 0 ? r : add_fact(m, "iommu-dirty-bits", d->dirty_bits);
}

static int add_device(sd_bus_message *m, const struct host_device *d, const char *labels)
{
    char label[MATCH_TEXT_MAX] = "";
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = add_identity(m, d);
    if (r >= 0 && match_label(labels, d->address, label) == 0)
        r = add_text(m, "label", label);
    if (r >= 0)
        r = add_group(m, d);
    if (r >= 0)
        r = add_holders(m, d);
    if (r >= 0)
        r = add_abilities(m, d);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}{sv}", "verdict", "s", verdict_to_string(d->verdict), "reason", "s",
                                  d->reason);
    if (r >= 0)
        r = open_value(m, "findings", "aa{sv}");
    if (r >= 0)
        r = api_append_findings(m, &d->findings);
    if (r >= 0)
        r = close_value(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int answer(void *work, sd_bus_message *reply)
{
    struct listing *l = work;
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < l->inventory->count; i++)
        r = add_device(reply, &l->inventory->devices[i], l->labels);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : api_append_findings(reply, &l->inventory->findings);
}

int api_method_list_devices(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    static const struct api_job_ops ops = {
        .run = run, .finish = finish, .answer = answer, .free = listing_free};
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    bool all = false, probe = true;
    const char *addresses = "";
    const struct api_option options[] = {
        {"all", API_BOOL, &all}, {"probe", API_BOOL, &probe}, {"addresses", API_STRING, &addresses}};
    if (api_options_read(m, options, ELEMENTS(options), &e) < 0)
        return api_error(error, &e);
    struct listing *l = calloc(1, sizeof *l);
    if (!l)
        return api_error(error, (mig_error_oom(&e), &e));
    l->options = (struct inventory_options){.tree = {.root = ""}, .all = all, .probe = probe};
    snprintf(l->labels, sizeof l->labels, "%s", a->o.config ? a->o.config->device_labels : "");
    int r = take_addresses(l, addresses, &e);
    if (r == 0 && take_known(l, a->o.registry) < 0)
        r = mig_error_oom(&e);
    if (r < 0) {
        listing_free(l);
        return api_error(error, &e);
    }
    r = api_job_start(a, m, NULL, "ListDevices", &ops, l, &e);
    return r < 0 ? api_error(error, &e) : r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/format.h"
#include "base/printable.h"
#include "incoming/compare-parts.h"
#include "migd-wire.h"
#include <stdio.h>
#include <string.h>

/* A driver's estimate follows what the guest does: only another order of size is worth a word. */
#define SIZE_FACTOR 2u

struct told { /* what HELLO says of a device */
    const char *name, *kind, *driver;
    uint64_t flags, vendor, device, subvendor, subdevice;
    bool precopies;           /* has the flag, and the operator has not said otherwise */
    struct json_object *json; /* for the keys that older sources leave out */
};

static int read_device(struct json_object *o, struct told *t, struct mig_error *err)
{
    *t = (struct told){.driver = "", .json = o};
    if (json_get_string(o, "name", &t->name) < 0 || json_get_string(o, "kind", &t->kind) < 0 ||
        json_get_u64(o, "migration-flags", &t->flags) < 0 || json_get_u64(o, "vendor", &t->vendor) < 0 ||
        json_get_u64(o, "device", &t->device) < 0 || json_get_u64(o, "subsystem-vendor", &t->subvendor) < 0 ||
        json_get_u64(o, "subsystem-device", &t->subdevice) < 0)
        return compare_malformed(err, "a device without name, kind or ids");
    json_get_string(o, "driver", &t->driver);
    t->precopies = t->flags & DEVICE_MIGRATION_PRE_COPY;
    json_get_bool(o, "precopy", &t->precopies);
    return 0;
}

static int compare_driver(const struct told *t, const struct device_info *info, const char *name,
                          struct findings *ret)
{
    char there[sizeof info->driver];
    snprintf(there, sizeof there, "%s", t->driver);
    make_printable(there);
    if (strcmp(info->kind, "vfio") != 0)
        return 0; /* a server has no kernel driver */
    if (!there[0] || !info->driver[0])
        return findings_add(ret, FINDING_DEVICE_DRIVER_UNKNOWN, name, NULL,
                            "The kernel driver of device %s is not known %s: drivers cannot be compared",
                            name, there[0] ? "at the destination" : "at the source");
    if (strcmp(there, info->driver) == 0)
        return 0;
    return findings_add(ret, FINDING_DEVICE_DRIVER_DIFFERS, name, NULL,
                        "Device %s is driven by %s at the source and by %s at the destination", name, there,
                        info->driver);
}

static int compare_ids(const struct told *t, const struct device_info *info, const char *name,
                       struct findings *ret)
{
    uint64_t revision;
    int r = 0;
    if (t->vendor != info->pci_vendor || t->device != info->pci_device ||
        t->subvendor != info->pci_subvendor || t->subdevice != info->pci_subdevice)
        r = findings_add(ret, FINDING_DEVICE_IDS_DIFFER, name, NULL,
                         "Device %s is %04x:%04x (subsystem %04x:%04x) at the source and %04x:%04x "
                         "(%04x:%04x) at the destination",
                         name, (unsigned)t->vendor, (unsigned)t->device, (unsigned)t->subvendor,
                         (unsigned)t->subdevice, info->pci_vendor, info->pci_device, info->pci_subvendor,
                         info->pci_subdevice);
    if (r == 0 && json_get_u64(t->json, "revision", &revision) == 0 && revision != info->pci_revision)
        r = findings_add(ret, FINDING_DEVICE_REVISION_DIFFERS, name, NULL,
                         "Device %s has revision %02x at the source and %02x at the destination", name,
                         (unsigned)revision, info->pci_revision);
    return r;
}

static const char *flag_words(uint64_t flags)
{
    bool p2p = flags & DEVICE_MIGRATION_P2P, precopy = flags & DEVICE_MIGRATION_PRE_COPY;
    return p2p && precopy ? "P2P and PRE_COPY" : p2p ? "P2P" : precopy ? "PRE_COPY" : "neither";
}

/* without_p2p: a device of the source lacks the P2P states too, so its operator has overruled that already.
 */
static int compare_flags(const struct told *t, const struct device_info *info, const char *name, bool several,
                         bool without_p2p, struct findings *ret)
{
    const uint32_t compared = DEVICE_MIGRATION_P2P | DEVICE_MIGRATION_PRE_COPY;
    uint32_t flags = info->migration_flags;
    int r = 0;
    if (!(flags & DEVICE_MIGRATION_STOP_COPY)) {
        r = findings_add(ret, FINDING_DEVICE_NO_MIGRATION, name, "Use a device or driver that does",
                         "Device %s does not support migration at the destination", name);
        return r;
    }
    if (several && !without_p2p && !(flags & DEVICE_MIGRATION_P2P))
        r = findings_add(
            ret, FINDING_DEVICE_NO_P2P, name, NULL,
            "Device %s has no peer-to-peer states at the destination: it would write to the other devices "
            "before they run",
            name);
    /* The other way round the stream is that of a device that stands still, which PRE_COPY drivers load too.
     */
    if (r == 0 && t->precopies && !(flags & DEVICE_MIGRATION_PRE_COPY))
        r = findings_add(ret, FINDING_DEVICE_PRECOPY_MISSING, name, NULL,
                         "Device %s saves its state while it runs (PRE_COPY) at the source, which the one at "
                         "the destination cannot: it may not understand such a stream",
                         name);
    else if (r == 0 && (t->flags & compared) != (flags & compared))
        r = findings_add(ret, FINDING_DEVICE_FLAGS_DIFFER, name, NULL,
                         "Device %s migrates with %s at the source and with %s at the destination", name,
                         flag_words(t->flags), flag_words(flags));
    return r;
}

static int compare_layout(const struct told *t, const struct device_info *info, const char *name,
                          struct findings *ret)
{
    uint64_t regions, irqs;
    if (json_get_u64(t->json, "regions", &regions) < 0 || json_get_u64(t->json, "irqs", &irqs) < 0 ||
        (regions == info->num_regions && irqs == info->num_irqs))
        return 0;
    return findings_add(ret, FINDING_DEVICE_LAYOUT_DIFFERS, name, NULL,
                        "Device %s has %llu regions and %llu kinds of interrupts at the source, %u and %u "
                        "at the destination",
                        name, (unsigned long long)regions, (unsigned long long)irqs, info->num_regions,
                        info->num_irqs);
}

static int compare_state_size(const struct told *t, struct device *d, struct findings *ret)
{
    uint64_t there, here;
    if (json_get_u64(t->json, "stop-copy-size", &there) < 0 || !d->ops->info(d)->has_stop_copy_size ||
        d->ops->stop_copy_size(d, &here, NULL) < 0)
        return 0;
    if (there / SIZE_FACTOR <= here && here / SIZE_FACTOR <= there)
        return 0;
    return findings_add(ret, FINDING_DEVICE_STATE_SIZE_DIFFERS, d->name, NULL,
                        "Device %s expects a state of %s at the source and of %s at the destination", d->name,
                        FORMAT_BYTES(there), FORMAT_BYTES(here));
}

static int compare_device(const struct told *t, const struct here *here, bool several, bool without_p2p,
                          struct findings *ret)
{
    char name[DEVICE_NAME_MAX + 1], kind[32];
    snprintf(name, sizeof name, "%s", t->name);
    make_printable(name);
    struct device *d = here_find_device(here, t->name);
    if (!d)
        return findings_add(
            ret, FINDING_DEVICE_MISSING, name, "Register the devices on both sides under the same names",
            "The source has device %s, which domain %s at the destination has not", name, here->name);
    const struct device_info *info = d->ops->info(d);
    if (strcmp(t->kind, info->kind) != 0) {
        snprintf(kind, sizeof kind, "%s", t->kind);
        return findings_add(ret, FINDING_DEVICE_KIND_DIFFERS, name, "Use a device of the same kind",
                            "Device %s is of kind %s at the source and %s at the destination", name,
                            make_printable(kind), info->kind);
    }
    if (device_is_silent(d))
        return findings_add(ret, FINDING_DEVICE_FACTS_UNKNOWN, name, NULL,
                            "Device %s at the destination stands still and cannot say what it is", name);
    int r = compare_ids(t, info, name, ret);
    if (r == 0)
        r = compare_driver(t, info, name, ret);
    if (r == 0)
        r = compare_flags(t, info, name, several, without_p2p, ret);
    if (r == 0)
        r = compare_layout(t, info, name, ret);
    return r < 0 ? r : compare_state_size(t, d, ret);
}

static const struct told *find_told(const struct told *devices, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(devices[i].name, name) == 0)
            return &devices[i];
    return NULL;
}

static int compare_all(const struct told *devices, size_t n, const struct here *here, struct findings *ret)
{
    bool without_p2p = false;
    int r = 0;
    for (size_t i = 0; i < n; i++)
        without_p2p |= !(devices[i].flags & DEVICE_MIGRATION_P2P);
    for (size_t i = 0; i < n && r == 0; i++)
        r = compare_device(&devices[i], here, n > 1, without_p2p, ret);
    for (size_t i = 0; i < here->ndevices && r == 0; i++)
        if (!find_told(devices, n, here->devices[i]->name))
            r = findings_add(ret, FINDING_DEVICE_SURPLUS, here->devices[i]->name, NULL,
                             "Domain %s at the destination has device %s, which the source has not",
                             here->name, here->devices[i]->name);
    return r;
}

int compare_devices(struct json_object *hello, const struct here *here, struct findings *ret,
                    struct mig_error *err)
{
    struct json_object *array;
    size_t n;
    if (json_get_array(hello, "devices", &array, &n) < 0 || n > WIRE_DEVICES_MAX)
        return compare_malformed(err, "no devices, or too many");
    _cleanup_free_ struct told *devices = calloc(n ? n : 1, sizeof *devices);
    if (!devices)
        return mig_error_oom(err);
    for (size_t i = 0; i < n; i++) {
        int r = read_device(json_object_array_get_idx(array, i), &devices[i], err);
        if (r < 0)
            return r;
        if (find_told(devices, i, devices[i].name))
            return compare_malformed(err, "a device twice");
    }
    return compare_all(devices, n, here, ret) < 0 ? mig_error_oom(err) : 0;
}

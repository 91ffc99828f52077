/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/verdict.h"
#include "base/format.h"
#include "device/state.h"
#include <stdio.h>
#include <string.h>

static const char *const words[] = {
    [HOST_NOT_KNOWN] = "not-known",
    [HOST_CAN_MIGRATE] = "can-migrate",
    [HOST_CANNOT_CONVERGE] = "cannot-converge",
    [HOST_CANNOT_MIGRATE] = "cannot-migrate",
};

const char *verdict_to_string(enum host_verdict v)
{
    return words[v];
}

static bool is_plain(const struct host_device *d)
{
    return strcmp(d->driver, "vfio-pci") == 0;
}

/* ---- the binding ---- */

static int judge_binding(struct host_device *d)
{
    char remedy[200];
    const char *id = d->address;
    const char *kind = d->kind == HOST_MDEV ? "Mediated device" : "Device";
    if (d->on_vfio && !(d->variant[0] && is_plain(d)))
        return 0;
    if (d->kind == HOST_MDEV)
        return findings_add(
            &d->findings, FINDING_DEVICE_NOT_VFIO, id,
            "Load the driver of its parent device, or remove the mediated device and make it again",
            "%s %s is bound to no driver", kind, id);
    snprintf(remedy, sizeof remedy, "driverctl set-override %s %s, when nobody uses it", id,
             d->variant[0] ? d->variant : "vfio-pci");
    if (d->on_vfio)
        return findings_add(
            &d->findings, FINDING_DEVICE_PLAIN_DRIVER, id, remedy,
            "%s %s is bound to vfio-pci, which cannot save its state; the kernel has %s for it", kind, id,
            d->variant);
    return findings_add(&d->findings, FINDING_DEVICE_NOT_VFIO, id, remedy, "%s %s is bound to %s%s%s%s", kind,
                        id, d->driver[0] ? d->driver : "no driver",
                        d->variant[0] ? ", and the kernel has " : "", d->variant,
                        d->variant[0]  ? " for it"
                        : d->driver[0] ? ", a driver of the host"
                                       : "");
}

static int judge_physical(struct host_device *d)
{
    if (!d->vf_variant[0])
        return 0;
    return findings_add(
        &d->findings, FINDING_DEVICE_VIRTUAL_FUNCTIONS, d->address, NULL,
        "Device %s is a physical function with %u of at most %u virtual functions, for which the "
        "kernel has %s",
        d->address, d->vfs, d->vfs_max, d->vf_variant);
}

/* ---- the group ---- */

static int judge_members(struct host_device *d)
{
    char blockers[200] = "";
    size_t n = 0, endpoints = 0;
    for (size_t i = 0; i < d->nmembers; i++) {
        const struct host_member *m = &d->members[i];
        endpoints += !m->bridge;
        if (!m->viable && strcmp(m->address, d->address) != 0 && n < sizeof blockers)
            n += (size_t)snprintf(blockers + n, sizeof blockers - n, "%s%s (%s)", n ? ", " : "", m->address,
                                  m->driver);
    }
    if (*blockers && d->viable == FACT_NO)
        return findings_add(&d->findings, FINDING_GROUP_NOT_VIABLE, d->address, NULL,
                            "IOMMU group %s of %s cannot be used: it has %s, bound to a driver of the host",
                            d->group, d->address, blockers);
    if (d->viable == FACT_NO && d->on_vfio) /* the kernel says so, and sysfs does not show why */
        return findings_add(&d->findings, FINDING_GROUP_NOT_VIABLE, d->address, NULL,
                            "The kernel says that IOMMU group %s of %s cannot be used", d->group, d->address);
    if (endpoints > 1)
        return findings_add(&d->findings, FINDING_GROUP_SHARED, d->address, NULL,
                            "Device %s shares IOMMU group %s with %zu other device%s", d->address, d->group,
                            endpoints - 1, endpoints > 2 ? "s" : "");
    return 0;
}

static int judge_isolation(struct host_device *d)
{
    if (d->no_iommu)
        return findings_add(&d->findings, FINDING_GROUP_NO_IOMMU, d->address, NULL,
                            "Group %s of device %s works without IOMMU", d->group, d->address);
    if (d->kind == HOST_PCI && !d->group[0])
        return findings_add(&d->findings, FINDING_IOMMU_MISSING, d->address, NULL,
                            "Device %s has no IOMMU group", d->address);
    return 0;
}

/* ---- what the device was asked ---- */

static void holder_words(const struct host_device *d, char *buf, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < d->nholders && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%s (pid %d)", i ? ", " : "",
                              d->holders[i].command[0] ? d->holders[i].command : "a process",
                              (int)d->holders[i].pid);
    if (d->nholders == 0)
        snprintf(buf, size, "somebody whom /proc does not show");
}

static int judge_probe(struct host_device *d)
{
    char who[200];
    switch (d->probe) {
    case HOST_PROBE_SKIPPED:
        return findings_add(&d->findings, FINDING_DEVICE_NOT_PROBED, d->address, NULL,
                            "Device %s was not asked: that was not wanted", d->address);
    case HOST_PROBE_LATE:
        return findings_add(&d->findings, FINDING_DEVICE_NOT_PROBED, d->address, NULL,
                            "Device %s was not asked: others had taken too long already", d->address);
    case HOST_PROBE_HELD:
        holder_words(d, who, sizeof who);
        return findings_add(&d->findings, FINDING_DEVICE_HELD, d->address, NULL,
                            "Device %s is held by %s, and was not asked", d->address, who);
    case HOST_PROBE_FAILED:
        return findings_add(&d->findings, FINDING_DEVICE_PROBE_FAILED, d->address, NULL,
                            "Device %s could not be asked: %s", d->address, d->probe_error);
    default:
        return 0;
    }
}

static int judge_migration(struct host_device *d, const struct host_facts *h)
{
    int r = 0;
    if (d->migration == FACT_NO && !(d->variant[0] && is_plain(d))) {
        const char *remedy = NULL;
        if (is_plain(d) && h->knows_variants)
            remedy = "The kernel has no variant driver for it: ask its vendor for one, or move the workload "
                     "without "
                     "this device";
        return findings_add(&d->findings, FINDING_DEVICE_NO_MIGRATION, d->address, remedy,
                            "Device %s cannot migrate: its driver %s cannot save its state", d->address,
                            d->driver);
    }
    if (d->migration != FACT_YES)
        return 0;
    if (!(d->migration_flags & DEVICE_MIGRATION_P2P))
        r = findings_add(&d->findings, FINDING_DEVICE_SINGLE_ONLY, d->address, NULL,
                         "Device %s has no peer-to-peer states", d->address);
    if (r == 0 && !(d->migration_flags & DEVICE_MIGRATION_PRE_COPY))
        r = findings_add(&d->findings, FINDING_DEVICE_NO_PRECOPY, d->address, NULL,
                         "Device %s hands out its state in the blackout only%s%s", d->address,
                         d->has_state_bytes ? ": " : "",
                         d->has_state_bytes ? FORMAT_BYTES(d->state_bytes) : "");
    return r;
}

/* ---- who tells what it writes ---- */

static const char *why_no_container(const struct host_device *d, const struct host_facts *h)
{
    bool bits = d->dirty_bits == FACT_YES;
    if (d->kind == HOST_MDEV)
        return "there are no type1 containers, which would know";
    if (!h->has_iommufd)
        return bits ? "its IOMMU has dirty bits, but reading them takes iommufd, which this kernel lacks"
                    : "this kernel has no iommufd";
    if (!h->has_cdevs)
        return "this kernel has iommufd, but no VFIO cdevs (CONFIG_VFIO_DEVICE_CDEV)";
    return bits ? "the kernel does not use the dirty bits that its IOMMU has" : "its IOMMU has no dirty bits";
}

static int judge_tracking(struct host_device *d, const struct host_facts *h)
{
    int r = 0;
    if (d->log_unserved)
        r = findings_add(&d->findings, FINDING_DEVICE_LOG_UNSERVED, d->address, NULL,
                         "Device %s logs its DMA writes, but this kernel (%s) does not hand the log out",
                         d->address, h->kernel);
    if (r == 0 && d->migration == FACT_YES && d->device_log == FACT_NO && d->container_log == FACT_NO)
        r = findings_add(&d->findings, FINDING_DEVICE_NO_DIRTY_TRACKING, d->address, NULL,
                         "Nothing tells which pages device %s writes: it has no log of its own, and %s",
                         d->address, why_no_container(d, h));
    return r;
}

/* ---- the verdict ---- */

static const struct finding *first_of(const struct findings *f, enum finding_severity severity)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].severity == severity)
            return &f->items[i];
    return NULL;
}

static const struct finding *find(const struct findings *f, enum finding_code code)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].code == code)
            return &f->items[i];
    return NULL;
}

static void say(struct host_device *d, enum host_verdict v, const char *reason)
{
    d->verdict = v;
    snprintf(d->reason, sizeof d->reason, "%s", reason);
}

static void say_can(struct host_device *d)
{
    char state[64] = "", text[200];
    if (d->has_state_bytes)
        snprintf(state, sizeof state, ", with %s of state now", FORMAT_BYTES(d->state_bytes));
    snprintf(text, sizeof text, "It can migrate%s; %s which pages it writes", state,
             d->device_log == FACT_YES ? "its own log tells"
             : d->kind == HOST_MDEV    ? "a type1 container tells"
                                       : "its IOMMU tells");
    say(d, HOST_CAN_MIGRATE, text);
}

static void decide(struct host_device *d)
{
    const struct finding *error = first_of(&d->findings, FINDING_ERROR);
    const struct finding *blind = find(&d->findings, FINDING_DEVICE_NO_DIRTY_TRACKING);
    const struct finding *unasked = find(&d->findings, FINDING_DEVICE_HELD);
    if (!unasked)
        unasked = find(&d->findings, FINDING_DEVICE_NOT_PROBED);
    if (!unasked)
        unasked = find(&d->findings, FINDING_DEVICE_PROBE_FAILED);
    if (error)
        say(d, HOST_CANNOT_MIGRATE, error->message);
    else if (d->migration != FACT_YES)
        say(d, HOST_NOT_KNOWN, unasked ? unasked->message : "Nobody was asked what it can do");
    else if (blind)
        say(d, HOST_CANNOT_CONVERGE, blind->message);
    else if (d->device_log == FACT_YES || d->container_log == FACT_YES)
        say_can(d);
    else
        say(d, HOST_NOT_KNOWN,
            "It can migrate, but who tells which pages it writes depends on its owner: migctl check says it");
}

int verdict_reach(struct host_device *d, const struct host_facts *h)
{
    if (is_plain(d))
        d->migration = FACT_NO; /* whoever has it: this driver cannot */
    int r = judge_isolation(d);
    if (r == 0)
        r = judge_binding(d);
    if (r == 0)
        r = judge_members(d);
    if (r == 0)
        r = judge_probe(d);
    if (r == 0)
        r = judge_migration(d, h);
    if (r == 0)
        r = judge_tracking(d, h);
    if (r == 0)
        r = judge_physical(d);
    if (r == 0)
        decide(d);
    return r;
}

/* ---- the host ---- */

int verdict_of_host(const struct host_facts *h, struct findings *f)
{
    int r = 0;
    if (!h->has_vfio)
        r = findings_add(f, FINDING_HOST_NO_VFIO, "",
                         h->has_vfio_pci ? "modprobe vfio-pci"
                         : h->knows_variants
                             ? "Install a kernel that is built with VFIO: this one has no module vfio-pci"
                             : NULL,
                         "The kernel of this host (%s) has no VFIO%s", h->kernel[0] ? h->kernel : "unknown",
                         h->has_vfio_pci ? " loaded" : "");
    if (r == 0 && !h->has_groups)
        r = findings_add(
            f, FINDING_HOST_NO_IOMMU, "", NULL,
            "This host has no IOMMU in use, so none of its %zu PCI functions can be passed through",
            h->functions);
    if (r == 0 && h->has_vfio && !h->has_iommufd)
        r = findings_add(
            f, FINDING_HOST_NO_IOMMUFD, "", NULL,
            "The kernel of this host (%s) has no iommufd, so no IOMMU tells what a device writes", h->kernel);
    if (r == 0 && h->has_vfio && !h->knows_variants)
        r = findings_add(
            f, FINDING_HOST_MODULES_UNKNOWN, "", NULL,
            "Which variant drivers the kernel %s has is not known: its list of modules cannot be read",
            h->kernel);
    if (r == 0 && h->hidden_processes && h->has_vfio)
        r = findings_add(f, FINDING_HOST_HOLDERS_HIDDEN, "", NULL,
                         "%zu process%s could not be looked into, and may have devices", h->hidden_processes,
                         h->hidden_processes == 1 ? "" : "es");
    if (r == 0 && h->has_vfio && h->devices == 0)
        r = findings_add(f, FINDING_HOST_NO_DEVICES, "", NULL,
                         "No device of this host is bound to VFIO or could be moved as it is");
    return r;
}

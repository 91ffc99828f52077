/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The devices: what they can do, and whether they answer. */
#include "base/format.h"
#include "check/check-private.h"
#include "domain/kernel-devices.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <poll.h>
#include <string.h>

static bool any_container_is_mapped(const struct domain *d)
{
    for (size_t i = 0; i < d->ncontainers; i++)
        if (iova_map_count(d->containers[i].container->map))
            return true;
    return false;
}

static void check_address_space(struct check *c, const struct domain_device *dd)
{
    const char *name = dd->device->name;
    bool mapped = any_container_is_mapped(c->domain);
    if (dd->tracker_container && !mapped)
        TELL(c, FINDING_DEVICE_UNTRACKED, name, NULL,
             "Device %s is to be tracked by a container, and migd knows of no mapping in any: what it writes "
             "would not be found",
             name);
    else if (!dd->tracker_container && iova_map_count(dd->device->map) == 0)
        TELL(c, FINDING_DEVICE_UNMAPPED, name, NULL, "Device %s sees no memory, as far as migd knows", name);
}

/* Only type1 hears of writes that do not go through the IOMMU. */
static void check_mediated(struct check *c, const struct domain_device *dd)
{
    if (dd->tracker_container && domain_containers_miss(c->domain, dd->device))
        TELL(c, FINDING_DEVICE_MDEV_UNTRACKED, dd->device->name, NULL,
             "Device %s is a mediated device: what it writes is not in the dirty bits of an iommufd",
             dd->device->name);
}

void check_device_facts(struct check *c)
{
    const struct domain *d = c->domain;
    for (size_t i = 0; i < d->ndevices; i++) {
        const struct domain_device *dd = &d->devices[i];
        struct device *dev = dd->device;
        uint32_t flags = device_migration_flags(dev);
        if (!(flags & DEVICE_MIGRATION_STOP_COPY)) {
            TELL(c, FINDING_DEVICE_NO_MIGRATION, dev->name, NULL,
                 "Device %s of domain %s does not support migration", dev->name, d->name);
            continue;
        }
        if (d->ndevices > 1 && !(flags & DEVICE_MIGRATION_P2P))
            TELL(c, FINDING_DEVICE_NO_P2P, dev->name, NULL,
                 "Domain %s has %zu devices, and %s has no peer-to-peer quiet state: while one is stopped "
                 "another could still write to it",
                 d->name, d->ndevices, dev->name);
        if (!domain_device_precopies(dd))
            TELL(c, FINDING_DEVICE_NO_PRECOPY, dev->name, NULL,
                 "Device %s hands out its state only once it is stopped%s", dev->name,
                 flags & DEVICE_MIGRATION_PRE_COPY ? ", because it was registered so" : "");
        check_address_space(c, dd);
    }
}

static bool is_gone(struct device *d)
{
    struct pollfd p = {.fd = d->ops->gone_fd(d), .events = POLLIN};
    return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

static void check_state(struct check *c, size_t i)
{
    struct device *dev = c->domain->devices[i].device;
    struct mig_error e = MIG_ERROR_INIT;
    enum device_state state;
    if (dev->ops->get_state(dev, &state, &e) < 0) {
        c->dead[i] = true;
        TELL_ERROR(c, FINDING_DEVICE_SILENT, dev->name, &e, "Device %s does not say in which state it is",
                   dev->name);
    } else if (state == DEVICE_STATE_ERROR) {
        TELL(c, FINDING_DEVICE_ERROR_STATE, dev->name, NULL,
             "Device %s is in the state ERROR, from which only a reset leads", dev->name);
    } else if (state != DEVICE_STATE_RUNNING) {
        TELL(c, FINDING_DEVICE_NOT_RUNNING, dev->name, NULL, "Device %s does not run: it is in the state %s",
             dev->name, device_state_to_string(state));
    }
}

static void check_state_size(struct check *c, struct device *dev)
{
    uint64_t bytes, allowed = c->request->options->max_downtime_usec;
    if (!dev->ops->info(dev)->has_stop_copy_size || dev->ops->stop_copy_size(dev, &bytes, NULL) < 0)
        return;
    c->state_bytes += bytes;
    if (check_usec_for(c, bytes) > allowed / 2)
        TELL(c, FINDING_DEVICE_STATE_LARGE, dev->name, NULL,
             "Device %s expects to hand out %s of state, which takes %s at %s%s; %s are allowed", dev->name,
             FORMAT_BYTES(bytes), FORMAT_USEC(check_usec_for(c, bytes)), FORMAT_RATE(check_bandwidth(c)),
             check_bandwidth_note(c), FORMAT_USEC(allowed));
}

void check_device_asks(struct check *c)
{
    for (size_t i = 0; i < c->domain->ndevices; i++) {
        const struct domain_device *dd = &c->domain->devices[i];
        struct device *dev = dd->device;
        check_mediated(c, dd);
        if (is_gone(dev)) {
            bool kernel = kvfio_device_is(dev);
            c->dead[i] = true;
            TELL(c, kernel ? FINDING_HOLDER_GONE : FINDING_DEVICE_GONE, dev->name, NULL,
                 kernel ? "Device %s is gone: the process that holds it ended"
                        : "Device %s is gone: its server ended the connection",
                 dev->name);
            continue;
        }
        if (!(device_migration_flags(dev) & DEVICE_MIGRATION_STOP_COPY))
            continue;
        check_state(c, i);
        if (!c->dead[i])
            check_state_size(c, dev);
    }
}

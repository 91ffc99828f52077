/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lists of a domain as properties. Nothing here asks a device: what is shown is what is known. */
#include "api/api-domain.h"
#include "vfio-user/device.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <poll.h>

static int open_entry(sd_bus_message *m)
{
    return sd_bus_message_open_container(m, 'a', "{sv}");
}

static int add_iovas(sd_bus_message *m, const struct domain_memory *memory)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "iova");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "at");
    if (r >= 0)
        r = sd_bus_message_append_array(m, 't', memory->iova, memory->niovas * sizeof memory->iova[0]);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int add_memory(sd_bus_message *m, const struct domain_memory *memory)
{
    const struct region *region = memory->region;
    int r = open_entry(m);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}{sv}", "name", "s", region->name, "size", "t",
                                  region->size_bytes, "offset", "t", region->offset_bytes, "origin", "s",
                                  region->origin ? region->origin : "", "made", "b", region->made,
                                  "page-size", "t", region->file_page_bytes);
    if (r >= 0)
        r = add_iovas(m, memory);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int api_domain_get_memory(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct domain *d = ((struct api_domain *)userdata)->domain;
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    pthread_mutex_lock(&d->lock); /* a client's thread may add */
    for (size_t i = 0; r >= 0 && i < d->nmemory; i++)
        r = add_memory(reply, &d->memory[i]);
    pthread_mutex_unlock(&d->lock);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int add_flags(sd_bus_message *m, uint32_t flags)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "migration-flags");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    if (r >= 0 && flags & DEVICE_MIGRATION_STOP_COPY)
        r = sd_bus_message_append(m, "s", "stop-copy");
    if (r >= 0 && flags & DEVICE_MIGRATION_P2P)
        r = sd_bus_message_append(m, "s", "p2p");
    if (r >= 0 && flags & DEVICE_MIGRATION_PRE_COPY)
        r = sd_bus_message_append(m, "s", "pre-copy");
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

static bool is_gone(struct device *device)
{
    struct pollfd p = {.fd = device->ops->gone_fd(device), .events = POLLIN};
    return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

static uint32_t count_mappings(struct iova_map *map)
{
    struct iova_mapping *mappings;
    size_t n = 0;
    if (iova_map_snapshot(map, &mappings, &n) < 0)
        return 0;
    iova_mappings_free(mappings, n);
    return (uint32_t)n;
}

static const char *known_state(struct device *device)
{
    struct vfu_device_status status;
    if (kvfio_device_is(device))
        return device_state_to_string(kvfio_device_known_state(device));
    if (!vfu_device_is(device))
        return "unknown";
    vfu_device_get_status(device, &status);
    return device_state_to_string(status.state);
}

static int add_device(sd_bus_message *m, const struct domain_device *dd)
{
    const struct device_info *info = dd->device->ops->info(dd->device);
    int r = open_entry(m);
    if (r >= 0)
        r = sd_bus_message_append(
            m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "name", "s", dd->device->name, "kind", "s",
            info->kind, "driver", "s", info->driver, "socket", "s", dd->socket ? dd->socket : "", "listen",
            "s", dd->listen ? dd->listen : "", "state", "s", known_state(dd->device), "vendor", "u",
            (uint32_t)info->pci_vendor, "device", "u", (uint32_t)info->pci_device, "gone", "b",
            is_gone(dd->device), "mappings", "u", count_mappings(dd->device->map));
    if (r >= 0)
        r = add_flags(m, info->migration_flags);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int api_domain_get_devices(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct domain *d = ((struct api_domain *)userdata)->domain;
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < d->ndevices; i++)
        r = add_device(reply, &d->devices[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int add_container(sd_bus_message *m, struct container *c)
{
    int r = open_entry(m);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}", "name", "s", c->name, "kind", "s", c->ops->kind,
                                  "mappings", "u", count_mappings(c->map));
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int api_domain_get_containers(sd_bus *bus, const char *path, const char *interface, const char *property,
                              sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct domain *d = ((struct api_domain *)userdata)->domain;
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < d->ncontainers; i++)
        r = add_container(reply, d->containers[i].container);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int add_tracker(sd_bus_message *m, struct tracker *t)
{
    int r = open_entry(m);
    if (r >= 0)
        r = sd_bus_message_append(
            m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "name", "s", t->name, "kind", "s", t->ops->kind,
            "device", "s", t->device, "started", "b", t->started, "blind", "b", tracker_is_blind(t),
            "page-size", "t", atomic_load(&t->granularity_bytes), "harvests", "t",
            atomic_load(&t->counters.harvests), "pages-reported", "t",
            atomic_load(&t->counters.pages_reported), "pages-first", "t",
            atomic_load(&t->counters.pages_first), "gate-pages", "t", atomic_load(&t->counters.gate_pages));
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int api_domain_get_trackers(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct domain *d = ((struct api_domain *)userdata)->domain;
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < d->ntrackers; i++)
        r = add_tracker(reply, d->trackers[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

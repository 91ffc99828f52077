/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "register.h"
#include "../common/bus.h"
#include "migd-bus.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add_domain(sd_bus *bus, const char *name, bool incoming, char **ret_path)
{
    sd_bus_message *m = NULL, *reply = NULL;
    const char *path;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "RegisterDomain", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "sa{sv}", name, 1, "incoming", "b", (int)incoming);
    if (r >= 0)
        r = bus_call(bus, m, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "o", &path);
    if (r >= 0 && !(*ret_path = strdup(path)))
        r = -ENOMEM;
    sd_bus_message_unref(reply);
    return r;
}

/* "iova": where devices see it. What is said here holds for every container and device that follows. */
static int add_memory(sd_bus *bus, const char *domain, const struct guest_memory *memory)
{
    sd_bus_message *m = NULL;
    int r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "AddMemory", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "shtta{sv}", "ram0", memory->fd, UINT64_C(0), memory->size, 2, "origin",
                                  "s", memory->path, "iova", "at", 1, UINT64_C(0));
    return r < 0 ? r : bus_call(bus, m, NULL);
}

/* The dirty bits of everything in this address space. With the IOAS migd can take the last bits of a range
 * and unmap it in one step. */
static int add_container(sd_bus *bus, const char *domain, const struct dma_space *space)
{
    sd_bus_message *m = NULL;
    int r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "AddContainer", &m);
    if (r >= 0 && space->interface == DMA_IOMMUFD)
        r = sd_bus_message_append(m, "sha{sv}", "dma", space->fd, 2, "pid", "u", (uint32_t)getpid(), "ioas",
                                  "u", space->ioas);
    else if (r >= 0)
        r = sd_bus_message_append(m, "sha{sv}", "dma", space->fd, 1, "pid", "u", (uint32_t)getpid());
    return r < 0 ? r : bus_call(bus, m, NULL);
}

/* Only what has migration states. A device without any is moved by whoever drives it, and its writes are in
 * its container's log. The name is the place in this VM, not the address on this host: the other side must
 * have the same. "auto": its writes are in its own log, or in its container's. */
static int add_device(sd_bus *bus, const char *domain, unsigned slot, const struct device *d)
{
    sd_bus_message *m = NULL;
    char name[16];
    if (!d->migrates)
        return 0;
    snprintf(name, sizeof name, "dev%u", slot);
    int r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "AddDevice", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "sha{sv}", name, d->fd, 2, "tracker", "s", "auto", "pid", "u",
                                  (uint32_t)getpid());
    return r < 0 ? r : bus_call(bus, m, NULL);
}

static int add_log(sd_bus *bus, const char *domain, const struct cpu_log *log)
{
    sd_bus_message *m = NULL;
    int r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "AddDirtyLog", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "ssaha{sv}", "cpu", "cpu-log", 1, log->fd, 2, "memory", "s", "ram0",
                                  "origin", "s", log->path);
    return r < 0 ? r : bus_call(bus, m, NULL);
}

/* Without "bus-name" the caller is the controller: this connection. */
static int add_controller(sd_bus *bus, const char *domain)
{
    sd_bus_message *m = NULL;
    int r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "SetController", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "sa{sv}", "dbus", 1, "path", "s", VMM_PATH);
    return r < 0 ? r : bus_call(bus, m, NULL);
}

int register_domain(sd_bus *bus, const char *name, bool incoming, const struct vmm *v)
{
    char *domain = NULL;
    int r = add_domain(bus, name, incoming, &domain);
    if (r >= 0)
        r = add_memory(bus, domain, &v->memory);
    if (r >= 0 && v->space.fd >= 0)
        r = add_container(bus, domain, &v->space);
    for (unsigned i = 0; i < v->ndevices && r >= 0; i++)
        r = add_device(bus, domain, i, &v->devices[i]);
    if (r >= 0)
        r = add_log(bus, domain, &v->log);
    if (r >= 0)
        r = add_controller(bus, domain);
    free(domain);
    return r < 0 ? r : 0;
}

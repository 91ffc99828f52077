/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "register.h"
#include "../common/bus.h"
#include "migd-bus.h"
#include "vmm.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The descriptor at the reply's place is closed with the reply: take a copy. */
static int adopt_reply(int fd, uint64_t offset, uint64_t size, struct guest_memory *ret)
{
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return -errno;
    return guest_memory_adopt(ret, fd, offset, size);
}

int open_memory(sd_bus *bus, const char *domain, const char *memory, struct guest_memory *ret)
{
    sd_bus_message *m = NULL, *reply = NULL;
    char *path = NULL;
    uint64_t offset, size;
    int fd, r;

    r = sd_bus_path_encode(MIGD_BUS_DOMAIN_PREFIX, domain, &path);
    if (r < 0)
        return r;
    if ((r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "OpenMemory", &m)) >= 0 &&
        (r = sd_bus_message_append(m, "sa{sv}", memory, 0)) >= 0 && (r = bus_call(bus, m, &reply)) >= 0 &&
        (r = sd_bus_message_read(reply, "htt", &fd, &offset, &size)) >= 0)
        r = adopt_reply(fd, offset, size, ret);
    sd_bus_message_unref(reply);
    free(path);
    return r;
}

int register_domain(sd_bus *bus, const struct options *o, char **ret_path)
{
    sd_bus_message *m = NULL, *reply = NULL;
    const char *path;
    int r = bus_new_call(bus, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "RegisterDomain", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "sa{sv}", o->register_name, 1, "incoming", "b", (int)o->incoming);
    if (r >= 0)
        r = bus_call(bus, m, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "o", &path);
    if (r >= 0 && !(*ret_path = strdup(path)))
        r = -ENOMEM;
    sd_bus_message_unref(reply);
    return r < 0 ? r : 0;
}

int register_make_memory(sd_bus *bus, const char *domain_path, const struct options *o,
                         struct guest_memory *ret)
{
    sd_bus_message *m = NULL, *reply = NULL;
    uint32_t index;
    int fd, r;
    r = bus_new_call(bus, domain_path, MIGD_IFACE_DOMAIN, "MakeMemory", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "sta{sv}", "ram0", o->size, 2, "hugepages", "t", o->huge_bytes, "iova",
                                  "at", 1, o->iova);
    if (r >= 0)
        r = bus_call(bus, m, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "uh", &index, &fd);
    if (r >= 0)
        r = adopt_reply(fd, 0, o->size, ret);
    sd_bus_message_unref(reply);
    return r < 0 ? r : 0;
}

int register_rest(sd_bus *bus, const char *domain_path, const struct options *o,
                  const struct guest_memory *memory, const struct cpu_log *log, int uffd)
{
    sd_bus_message *m = NULL;
    int r = 0;

    /* Where the memory is for the devices ("iova") is said once here; migd maps it for every device that is
     * added. "origin" lets migd find it again when it was restarted. */
    if (!o->make) {
        if ((r = bus_new_call(bus, domain_path, MIGD_IFACE_DOMAIN, "AddMemory", &m)) < 0 ||
            (r = sd_bus_message_append(m, "shtta{sv}", "ram0", memory->fd, memory->offset, memory->size, 2,
                                       "origin", "s", memory->path, "iova", "at", 1, o->iova)) < 0 ||
            (r = bus_call(bus, m, NULL)) < 0)
            return r;
    }
    if (log->words) {
        if ((r = bus_new_call(bus, domain_path, MIGD_IFACE_DOMAIN, "AddDirtyLog", &m)) < 0 ||
            (r = sd_bus_message_append(m, "ssaha{sv}", "cpu", "cpu-log", 1, log->fd, 2, "memory", "s", "ram0",
                                       "origin", "s", log->path)) < 0 ||
            (r = bus_call(bus, m, NULL)) < 0)
            return r;
    } else if (uffd >= 0) {
        if ((r = bus_new_call(bus, domain_path, MIGD_IFACE_DOMAIN, "AddDirtyLog", &m)) < 0 ||
            (r = sd_bus_message_append(m, "ssaha{sv}", "cpu", "uffd", 1, uffd, 3, "memory", "s", "ram0",
                                       "pid", "u", (uint32_t)getpid(), "address", "t",
                                       (uint64_t)(uintptr_t)memory->base)) < 0 ||
            (r = bus_call(bus, m, NULL)) < 0)
            return r;
    }
    for (unsigned i = 0; i < o->n_devices; i++) {
        const struct device_option *d = &o->devices[i];
        if ((r = bus_new_call(bus, domain_path, MIGD_IFACE_DOMAIN, "AddUserDevice", &m)) < 0 ||
            (r = sd_bus_message_append(m, "sva{sv}", d->name, "s", d->socket, 3, "tracker", "s", d->tracker,
                                       "log-page-size", "t", d->log_page_bytes, "precopy", "b",
                                       (int)d->precopy)) < 0 ||
            (r = bus_call(bus, m, NULL)) < 0)
            return r;
    }
    /* Without "bus-name" the caller is the controller: this connection. */
    if ((r = bus_new_call(bus, domain_path, MIGD_IFACE_DOMAIN, "SetController", &m)) < 0 ||
        (r = sd_bus_message_append(m, "sa{sv}", "dbus", 1, "path", "s", VMM_PATH)) < 0)
        return r;
    return bus_call(bus, m, NULL);
}

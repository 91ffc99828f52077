/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "register-kernel.h"
#include "domain-fields.h"
#include "foreign-fd.h"
#include "migd-bus.h"

static int finish_call(sd_bus *bus, sd_bus_message *m, int r, struct mig_error *err)
{
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? bus_message_failed(r, err) : bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, NULL, err);
}

int register_container(sd_bus *bus, const char *path, const struct spec_container *c, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    _cleanup_close_ int fd = -1;
    int pidfd, r = foreign_fd_take(c->pid, c->fd, c->seen, &fd, err);
    if (r == 0)
        r = foreign_open(c->pid, &pidfd, err);
    if (r < 0 || (r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "AddContainer", &m, err)) < 0)
        return r;
    r = sd_bus_message_append(m, "sh", c->name, fd);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "pidfd", "h", pidfd);
    if (r >= 0 && field_given(&container_fields, c, "ioas"))
        r = sd_bus_message_append(m, "{sv}", "ioas", "u", (uint32_t)c->ioas);
    if (r >= 0 && field_given(&container_fields, c, "hwpt"))
        r = sd_bus_message_append(m, "{sv}", "hwpts", "at", 1, c->hwpt);
    if (r >= 0 && !c->map)
        r = sd_bus_message_append(m, "{sv}", "map", "b", false);
    return finish_call(bus, m, r, err);
}

int register_kernel_device(sd_bus *bus, const char *path, const struct spec_device *d, const char *tracker,
                           struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    _cleanup_close_ int fd = -1;
    int pidfd, r = foreign_fd_take(d->pid, d->fd, d->seen, &fd, err);
    if (r == 0)
        r = foreign_open(d->pid, &pidfd, err);
    if (r < 0 || (r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "AddDevice", &m, err)) < 0)
        return r;
    r = sd_bus_message_append(m, "sh", d->name, fd);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "pidfd", "h", pidfd);
    if (r >= 0 && tracker)
        r = sd_bus_message_append(m, "{sv}", "tracker", "s", tracker);
    if (r >= 0 && field_given(&device_fields, d, "timeout"))
        r = sd_bus_message_append(m, "{sv}", "timeout", "t", d->timeout_usec);
    if (r >= 0 && field_given(&device_fields, d, "log-page-size"))
        r = sd_bus_message_append(m, "{sv}", "log-page-size", "t", d->log_page_size);
    if (r >= 0 && !d->precopy)
        r = sd_bus_message_append(m, "{sv}", "precopy", "b", false);
    if (r >= 0 && !d->map)
        r = sd_bus_message_append(m, "{sv}", "map", "b", false);
    return finish_call(bus, m, r, err);
}

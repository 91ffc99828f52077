/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "register-kernel.h"
#include "bus-json.h"
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

static int append_open_options(sd_bus_message *m, const struct spec_device *d)
{
    const struct {
        const char *key, *value;
    } texts[] = {{"interface", d->interface}, {"container", d->container}, {"tracker", d->tracker}};
    const struct {
        const char *key;
        bool value;
    } flags[] = {{"dirty-tracking", d->dirty_tracking},
                 {"split", d->split},
                 {"own-hwpt", d->own_hwpt},
                 {"map-memory", d->map_memory},
                 {"state", d->state},
                 {"precopy", d->precopy},
                 {"map", d->map}};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTS(texts); i++)
        if (texts[i].value)
            r = sd_bus_message_append(m, "{sv}", texts[i].key, "s", texts[i].value);
    for (size_t i = 0; r >= 0 && i < ELEMENTS(flags); i++)
        if (field_given(&device_fields, d, flags[i].key))
            r = sd_bus_message_append(m, "{sv}", flags[i].key, "b", (int)flags[i].value);
    if (r >= 0 && field_given(&device_fields, d, "timeout"))
        r = sd_bus_message_append(m, "{sv}", "timeout", "t", d->timeout_usec);
    if (r >= 0 && field_given(&device_fields, d, "log-page-size"))
        r = sd_bus_message_append(m, "{sv}", "log-page-size", "t", d->log_page_size);
    return r;
}

int register_opened_device(sd_bus *bus, const char *path, const struct spec_device *d,
                           struct json_object **ret_info, struct mig_error *err)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(bus, path, MIGD_IFACE_DOMAIN, "OpenDevice", &m, err);
    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "ss", d->name, d->address);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = append_open_options(m, d);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    if (r < 0)
        return bus_message_failed(r, err);
    r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, &reply, err);
    if (r < 0 || !ret_info)
        return r;
    r = sd_bus_message_skip(reply, "a{sh}"); /* descriptors are for VMMs */
    if (r >= 0)
        r = bus_read_json(reply, ret_info);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

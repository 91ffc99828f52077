/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The devices of a domain: adding them, and seeing that one has died. Main thread. */
#include "domain/structure.h"
#include "base/log.h"
#include "domain/kernel-devices.h"
#include "loop/loop.h"
#include "vfio/container.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

void structure_free_device(struct domain_device *dd)
{
    loop_io_free(dd->gone_watch);
    device_unref(dd->device);
    free(dd->socket);
    free(dd->listen);
}

static int copy_device(struct domain_device *to, const struct domain_device *from)
{
    *to = *from;
    to->gone_watch = NULL;
    to->device = device_ref(from->device);
    to->socket = from->socket ? strdup(from->socket) : NULL;
    to->listen = from->listen ? strdup(from->listen) : NULL;
    if ((from->socket && !to->socket) || (from->listen && !to->listen)) {
        structure_free_device(to);
        return -ENOMEM;
    }
    return 0;
}

static int new_device_tracker(struct domain *d, const struct domain_device *dd, struct tracker **ret,
                              struct mig_error *err)
{
    struct device *device = dd->device;
    if (dd->tracker_all)
        return structure_new_all_tracker(d, device->name, device->name, ret, err);
    return tracker_new_device(ret, device->name, device, dd->log_page_bytes, err);
}

static void device_gone(int fd, void *userdata)
{
    domain_check_devices(userdata);
}

void domain_check_devices(struct domain *d)
{
    char problem[sizeof d->problem];
    for (size_t i = 0; i < d->ndevices; i++) {
        struct domain_device *dd = &d->devices[i];
        int fd = dd->device->ops->gone_fd(dd->device);
        bool kernel = strcmp(dd->device->ops->info(dd->device)->kind, "vfio") == 0;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (fd < 0 || poll(&p, 1, 0) <= 0)
            continue;
        dd->gone_watch = loop_io_free(dd->gone_watch); /* it stays readable */
        if (d->borrowed || d->state == DOMAIN_STATE_DEPARTED || d->state == DOMAIN_STATE_BROKEN)
            continue;
        snprintf(problem, sizeof problem,
                 "device %s is gone: %s%s%.100s ended%s; start it again, release the "
                 "domain and register it anew",
                 dd->device->name, kernel ? "the process that holds it" : "its server",
                 dd->socket ? " at " : "", dd->socket ? dd->socket : "", kernel ? "" : " the connection");
        domain_set_state(d, DOMAIN_STATE_BROKEN, problem);
    }
    for (size_t i = 0; i < d->ncontainers; i++) {
        struct domain_container *c = &d->containers[i];
        if (!container_is_gone(c->container))
            continue;
        c->gone_watch = loop_io_free(c->gone_watch);
        if (d->borrowed || d->state == DOMAIN_STATE_DEPARTED || d->state == DOMAIN_STATE_BROKEN)
            continue;
        snprintf(problem, sizeof problem,
                 "container %s is gone: the process that holds it ended; start it again, release the domain "
                 "and register it anew",
                 c->container->name);
        domain_set_state(d, DOMAIN_STATE_BROKEN, problem);
    }
}

void domain_stop_watching(struct domain *d)
{
    /* The threads of pass-through clients tell no more news: what they posted would outlive the last
     * reference, which ends them. */
    pthread_mutex_lock(&d->lock);
    d->loop = NULL;
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < d->ndevices; i++)
        d->devices[i].gone_watch = loop_io_free(d->devices[i].gone_watch);
    for (size_t i = 0; i < d->ncontainers; i++)
        d->containers[i].gone_watch = loop_io_free(d->containers[i].gone_watch);
}

void domain_watch_devices(struct domain *d)
{
    for (size_t i = 0; i < d->ndevices; i++) {
        struct domain_device *dd = &d->devices[i];
        int fd = dd->device->ops->gone_fd(dd->device);
        if (d->loop && fd >= 0 && !dd->gone_watch &&
            loop_io_new(&dd->gone_watch, d->loop, fd, device_gone, d) < 0)
            log_warning("Cannot watch device %s of domain %s; its death will be noticed when it is used",
                        dd->device->name, d->name);
    }
    for (size_t i = 0; i < d->ncontainers; i++) {
        struct domain_container *c = &d->containers[i];
        if (d->loop && c->container->gone_fd >= 0 && !c->gone_watch &&
            loop_io_new(&c->gone_watch, d->loop, c->container->gone_fd, device_gone, d) < 0)
            log_warning(
                "Cannot watch the holder of container %s of domain %s; its death will be noticed when "
                "it is used",
                c->container->name, d->name);
    }
    domain_check_devices(d);
}

int domain_insert_device(struct domain *d, const struct domain_device *device, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    return r < 0 ? r : structure_insert_device(d, device, err);
}

static int check_new_device(struct domain *d, const char *name, struct mig_error *err)
{
    int r = domain_part_name_check("device", name, err);
    if (r < 0)
        return r;
    if (domain_find_device(d, name))
        return structure_refuse_twice(d, "device", name, err);
    if (domain_find_tracker(d, name))
        return structure_refuse_twice(d, "tracker", name, err);
    if (d->ndevices >= DOMAIN_DEVICES_MAX)
        return structure_refuse_more(d, "devices", DOMAIN_DEVICES_MAX, err);
    return 0;
}

int structure_insert_device(struct domain *d, const struct domain_device *device, struct mig_error *err)
{
    int r = check_new_device(d, device->device->name, err);
    if (r < 0)
        return r;
    struct domain_device *devices = reallocarray(d->devices, d->ndevices + 1, sizeof *devices);
    if (!devices)
        return mig_error_oom(err);
    d->devices = devices;
    struct domain_device *dd = &devices[d->ndevices];
    if (copy_device(dd, device) < 0)
        return mig_error_oom(err);
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    if (!dd->tracker_container) {
        r = new_device_tracker(d, dd, &t, err);
        if (r == 0)
            r = structure_append_tracker(d, t, NULL, err);
    }
    if (r < 0) {
        structure_free_device(dd);
        return r;
    }
    t = NULL;
    d->ndevices++;
    domain_tell(d);
    return 0;
}

int domain_add_device(struct domain *d, const struct domain_device *device, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r == 0)
        r = check_new_device(d, device->device->name, err);
    if (r == 0)
        r = domain_map_device(d, device, err);
    return r < 0 ? r : domain_insert_device(d, device, err);
}

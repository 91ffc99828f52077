/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices, trackers and controller of a domain: adding, finding, taking apart (memory: structure-memory.c).
 * Main thread.
 */
#include "domain/structure.h"
#include "domain/kernel-devices.h"
#include "domain/opened.h"
#include "domain/client.h"
#include "base/json.h"
#include "base/log.h"
#include "loop/loop.h"
#include "vfio/container.h"
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- finding ---- */

struct domain_memory *domain_find_memory(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->nmemory; i++)
        if (strcmp(d->memory[i].region->name, name) == 0)
            return &d->memory[i];
    return NULL;
}

struct domain_device *domain_find_device(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->ndevices; i++)
        if (strcmp(d->devices[i].device->name, name) == 0)
            return &d->devices[i];
    return NULL;
}

struct domain_device *domain_find_without_p2p(struct domain *d)
{
    for (size_t i = 0; i < d->ndevices; i++)
        if (!(device_migration_flags(d->devices[i].device) & DEVICE_MIGRATION_P2P))
            return &d->devices[i];
    return NULL;
}

bool domain_device_precopies(const struct domain_device *d)
{
    return d->use_precopy && (device_migration_flags(d->device) & DEVICE_MIGRATION_PRE_COPY);
}

struct tracker *domain_find_tracker(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->ntrackers; i++)
        if (strcmp(d->trackers[i]->name, name) == 0)
            return d->trackers[i];
    return NULL;
}
int structure_refuse_twice(const struct domain *d, const char *what, const char *name, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_EXISTS, 0, "domain %s already has a %s named %s", d->name, what, name);
}

int structure_refuse_more(const struct domain *d, const char *what, unsigned max, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_LIMIT, 0, "domain %s has %u %s already, which is the limit", d->name,
                         max, what);
}

/* ---- devices ---- */

static void free_device(struct domain_device *dd)
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
        free_device(to);
        return -ENOMEM;
    }
    return 0;
}

static int append_tracker(struct domain *d, struct tracker *t, struct json_object *saved,
                          struct mig_error *err)
{
    struct tracker **trackers = reallocarray(d->trackers, d->ntrackers + 1, sizeof *trackers);
    if (trackers)
        d->trackers = trackers;
    struct json_object **all_saved = reallocarray(d->tracker_saved, d->ntrackers + 1, sizeof *all_saved);
    if (all_saved)
        d->tracker_saved = all_saved;
    if (!trackers || !all_saved)
        return mig_error_oom(err);
    d->trackers[d->ntrackers] = t;
    d->tracker_saved[d->ntrackers] = json_object_get(saved);
    d->ntrackers++;
    return 0;
}

static int new_all_tracker(struct domain *d, const char *name, const char *device, struct tracker **ret,
                           struct mig_error *err)
{
    _cleanup_free_ struct region **regions = malloc(MAX(d->nmemory, (size_t)1) * sizeof *regions);
    if (!regions)
        return mig_error_oom(err);
    for (size_t i = 0; i < d->nmemory; i++)
        regions[i] = d->memory[i].region;
    return tracker_new_all(ret, name, device, regions, d->nmemory, err);
}

static int new_device_tracker(struct domain *d, const struct domain_device *dd, struct tracker **ret,
                              struct mig_error *err)
{
    struct device *device = dd->device;
    if (dd->tracker_all)
        return new_all_tracker(d, device->name, device->name, ret, err);
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
            r = append_tracker(d, t, NULL, err);
    }
    if (r < 0) {
        free_device(dd);
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

/* ---- trackers ---- */

/* "" for a tracker that is not of kind all or has one region of its own; else who writes. */
const char *structure_all_tracker_of(const struct domain *d, size_t i)
{
    struct json_object *memory;
    if (strcmp(d->trackers[i]->ops->kind, "all") != 0)
        return "";
    if (d->tracker_saved[i] && json_object_object_get_ex(d->tracker_saved[i], "memory", &memory))
        return "";
    return d->trackers[i]->device;
}

int domain_renew_all_trackers(struct domain *d, struct mig_error *err)
{
    for (size_t i = 0; i < d->ntrackers; i++) {
        const char *device = structure_all_tracker_of(d, i);
        struct tracker *fresh;
        if (!*device)
            continue;
        int r = new_all_tracker(d, d->trackers[i]->name, device, &fresh, err);
        if (r < 0)
            return r;
        tracker_free(d->trackers[i]);
        d->trackers[i] = fresh;
    }
    return 0;
}

int domain_add_tracker(struct domain *d, struct tracker *tracker, struct json_object *saved,
                       struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    return r < 0 ? r : structure_add_tracker(d, tracker, saved, err);
}

int structure_add_tracker(struct domain *d, struct tracker *tracker, struct json_object *saved,
                          struct mig_error *err)
{
    int r = domain_part_name_check("tracker", tracker->name, err);
    if (r < 0)
        return r;
    if (domain_find_tracker(d, tracker->name))
        return structure_refuse_twice(d, "tracker", tracker->name, err);
    if (d->ntrackers >= DOMAIN_TRACKERS_MAX)
        return structure_refuse_more(d, "trackers", DOMAIN_TRACKERS_MAX, err);
    r = append_tracker(d, tracker, saved, err);
    if (r == 0)
        domain_tell(d);
    return r;
}

/* ---- controller and the end ---- */

int domain_set_controller(struct domain *d, struct controller *c, struct json_object *saved,
                          struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r == 0)
        structure_set_controller(d, c, saved);
    return r;
}

void structure_set_controller(struct domain *d, struct controller *c, struct json_object *saved)
{
    controller_ref(c);
    controller_unref(d->controller);
    d->controller = c;
    json_object_get(saved);
    json_object_put(d->controller_saved);
    d->controller_saved = saved;
    domain_tell(d);
}

struct structure_counts structure_count(const struct domain *d)
{
    return (struct structure_counts){d->ndevices, d->ntrackers, d->ncontainers};
}

void structure_drop_newer(struct domain *d, struct structure_counts than)
{
    while (d->ntrackers > than.ntrackers) {
        tracker_free(d->trackers[--d->ntrackers]);
        json_object_put(d->tracker_saved[d->ntrackers]);
    }
    while (d->ndevices > than.ndevices)
        free_device(&d->devices[--d->ndevices]);
    while (d->ncontainers > than.ncontainers)
        domain_drop_container(&d->containers[--d->ncontainers]);
}

void domain_clear_structure(struct domain *d)
{
    for (size_t i = 0; i < d->ntrackers; i++) {
        tracker_free(d->trackers[i]);
        json_object_put(d->tracker_saved[i]);
    }
    d->ntrackers = 0;
    for (size_t i = 0; i < d->ndevices; i++)
        free_device(&d->devices[i]);
    d->ndevices = 0;
    domain_clear_containers(d);
    domain_clear_opened(d);
    for (size_t i = 0; i < d->nmemory; i++)
        region_unref(d->memory[i].region);
    d->nmemory = 0;
    free(d->trackers);
    free(d->tracker_saved);
    free(d->devices);
    d->trackers = NULL;
    d->tracker_saved = NULL;
    d->devices = NULL;
    while (d->clients) /* after the devices, whose threads use them */
        domain_client_free(d->clients);
}

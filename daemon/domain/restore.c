/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One saved form. Runs on a worker; the domain belongs to it alone until it is done, but for the memory that
 * pass-through clients bring. */
#include "domain/restore.h"
#include "domain/restore-parts.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parse.h"
#include "domain/client.h"
#include "domain/structure.h"
#include "domain/uffd-again.h"
#include "vmm/controller-dbus.h"
#include "vmm/controller-libvirt.h"
#include "vmm/controller-qmp.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static size_t read_iovas(struct json_object *o, uint64_t iovas[static DOMAIN_IOVAS_MAX])
{
    struct json_object *array;
    size_t n;
    if (json_get_array(o, "iova", &array, &n) < 0)
        return 0;
    n = MIN(n, (size_t)DOMAIN_IOVAS_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_object_get_string(json_object_array_get_idx(array, i));
        if (!text || parse_address(text, &iovas[i]) < 0)
            return i;
    }
    return n;
}

static int open_path(const char *what, const char *name, const char *path, int flags, int *ret,
                     struct mig_error *err)
{
    /* A path may lead to a FIFO by now: never wait for one. */
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "%s %s cannot be opened again by its path %s: %s",
                             what, name, path, strerror(errno));
    *ret = fd;
    return 0;
}

static int restore_memory(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name"), *path = json_text_or_null(o, "path");
    bool writable = !json_bool_or(o, "read-only", false);
    uint64_t iovas[DOMAIN_IOVAS_MAX];
    size_t niovas = read_iovas(o, iovas);
    if (!name)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "its saved form has memory without a name");
    bool made = json_bool_or(o, "make", false);
    _cleanup_close_ int fd = -1;
    int r = restore_kept_fd(d, "memory", name, o, &fd);
    if (r < 0 && !path)
        return mig_error_set(
            err, MIG_ERR_FAILED, 0,
            made ? "memory %s was made by migd, which does not hold it any more"
                 : "memory %s came as a descriptor without an origin from which it could be opened again",
            name);
    if (r < 0)
        r = open_path("memory", name, path, writable ? O_RDWR : O_RDONLY, &fd, err);
    if (r == 0)
        r = domain_check_memory_fd(fd, name, err);
    _cleanup_(region_unrefp) struct region *region = NULL;
    if (r == 0)
        r = region_new_from_fd(&region, name, fd, json_u64_or(o, "offset", 0), json_u64_or(o, "size", 0),
                               writable, err);
    if (r < 0)
        return r;
    region->origin = path ? strdup(path) : NULL;
    region->made = made;
    return structure_insert_memory(d, region, iovas, niovas, err);
}

static int map_into_device(void *userdata, const struct iova_mapping *m, struct mig_error *err)
{
    struct device *device = userdata;
    return device->ops->dma_map(device, m, err);
}

static int restore_device(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name"), *socket = json_text_or_null(o, "socket"),
               *listen = json_text_or_null(o, "listen"), *tracker = json_text_or_null(o, "tracker"),
               *type = json_text_or_null(o, "type");
    if (!name)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "its saved form has a device without a name");
    if (type && strcmp(type, "vfio") == 0)
        return restore_kernel_device(d, o, err);
    if (!socket)
        return mig_error_set(err, MIG_ERR_FAILED, 0,
                             "device %s came as a connected socket, which cannot be opened again", name);
    _cleanup_free_ char *socket_copy = strdup(socket), *listen_copy = listen ? strdup(listen) : NULL;
    struct domain_device dd = {
        .socket = socket_copy,
        .listen = listen_copy,
        .timeout_usec = json_u64_or(o, "timeout", 0),
        .log_page_bytes = json_u64_or(o, "log-page-size", REGION_PAGE_SIZE),
        .use_precopy = json_bool_or(o, "precopy", true),
        .automap = json_bool_or(o, "map", true),
        .tracker_all = tracker && strcmp(tracker, "all") == 0,
    };
    struct domain_client *client;
    if (!socket_copy || (listen && !listen_copy))
        return mig_error_oom(err);
    int r = domain_part_name_check("device", name, err);
    if (r == 0)
        r = domain_client_new(&client, d, name, err);
    _cleanup_(device_unrefp) struct device *device = NULL;
    if (r == 0)
        r = domain_open_device(client, &dd, -1, &device, err);
    if (r < 0)
        return r;
    dd.device = device;
    r = structure_insert_device(d, &dd, err);
    if (r == 0)
        restore_mappings(d, name, o, map_into_device, device);
    return r;
}

static int restore_all_tracker(struct domain *d, const char *name, struct region *region,
                               struct tracker **ret, struct mig_error *err)
{
    if (region)
        return tracker_new_all(ret, name, name, &region, 1, err);
    _cleanup_free_ struct region **regions = calloc(MAX(d->nmemory, (size_t)1), sizeof *regions);
    if (!regions)
        return mig_error_oom(err);
    for (size_t i = 0; i < d->nmemory; i++)
        regions[i] = d->memory[i].region;
    return tracker_new_all(ret, name, name, regions, d->nmemory, err);
}

static int restore_tracker(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name"), *type = json_text_or_null(o, "type"),
               *memory_name = json_text_or_null(o, "memory"), *path = json_text_or_null(o, "path");
    struct domain_memory *memory = memory_name ? domain_find_memory(d, memory_name) : NULL;
    if (!name || !type)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "its saved form has a tracker without name or type");
    if (memory_name && !memory)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "tracker %s has lost its memory %s", name, memory_name);
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    _cleanup_close_ int fd = -1;
    int r = restore_kept_fd(d, "tracker", name, o, &fd);
    bool kept = r == 0;
    if (strcmp(type, "all") == 0)
        r = restore_all_tracker(d, name, memory ? memory->region : NULL, &t, err);
    else if (strcmp(type, "cpu-log") == 0 && memory && (path || kept)) {
        if (!kept)
            r = open_path("the bitmap of tracker", name, path, O_RDWR, &fd, err);
        if (r == 0)
            r = domain_check_memory_fd(fd, name, err);
        if (r == 0)
            r = tracker_new_cpu_log(&t, name, memory->region, fd, json_u64_or(o, "offset", 0),
                                    json_u64_or(o, "page-size", REGION_PAGE_SIZE), err);
    } else if (strcmp(type, "uffd") == 0 && memory) {
        pid_t pid = (pid_t)json_u64_or(o, "pid", 0);
        uint64_t start_time = json_u64_or(o, "start-time", 0);
        r = kept ? uffd_check_owner(pid, start_time, name, err)
                 : uffd_take_again(pid, start_time, name, &fd, err);
        if (r == 0)
            r = tracker_new_uffd(&t, name, memory->region, fd, pid, json_u64_or(o, "address", 0), err);
    } else if (strcmp(type, "soft-dirty") == 0 && memory) {
        pid_t pid = (pid_t)json_u64_or(o, "pid", 0);
        r = uffd_check_owner(pid, json_u64_or(o, "start-time", 0), name, err);
        if (r == 0)
            r = tracker_new_soft_dirty(&t, name, memory->region, pid, json_u64_or(o, "address", 0), err);
    } else if (strcmp(type, "digests") == 0 && memory)
        r = tracker_new_digests(&t, name, memory->region, err);
    else
        r = mig_error_set(err, MIG_ERR_FAILED, 0,
                          "tracker %s of type %.40s came as a descriptor without an origin", name, type);
    if (r == 0)
        r = structure_add_tracker(d, t, o, err);
    if (r == 0)
        t = NULL;
    return r;
}

static int restore_controller(struct domain *d, struct sd_bus *bus, struct json_object *o,
                              struct mig_error *err)
{
    const char *type = json_text_or_null(o, "type"), *bus_name = json_text_or_null(o, "bus-name"),
               *path = json_text_or_null(o, "path");
    _cleanup_(controller_unrefp) struct controller *c = NULL;
    int r;
    if (!type || strcmp(type, "none") == 0)
        return 0;
    if (strcmp(type, "dbus") == 0 && bus_name && path && bus)
        r = controller_new_dbus(&c, d->loop, bus, bus_name, path,
                                json_u64_or(o, "timeout", CONTROLLER_DEFAULT_TIMEOUT_USEC), err);
    else if (strcmp(type, "qmp") == 0 && path)
        r = controller_new_qmp(&c, path, json_u64_or(o, "timeout", CONTROLLER_DEFAULT_TIMEOUT_USEC), err);
    else if (strcmp(type, "libvirt") == 0 && path)
        r = controller_new_libvirt(
            &c, d->name, path, json_u64_or(o, "timeout", CONTROLLER_DEFAULT_TIMEOUT_USEC), NULL, NULL, err);
    else
        r = mig_error_set(err, MIG_ERR_FAILED, 0, "its VMM controller of type %.40s cannot be made again",
                          type);
    if (r == 0)
        structure_set_controller(d, c, o);
    return r;
}

static void restore_state(struct domain *d, struct json_object *o)
{
    const char *word = json_text_or_null(o, "state"), *problem = json_text_or_null(o, "problem");
    /* What ran when the daemon ended does not run now; the records say how it goes on. */
    static const enum domain_state lasting[] = {DOMAIN_STATE_DEPARTED, DOMAIN_STATE_BROKEN,
                                                DOMAIN_STATE_IN_DOUBT, DOMAIN_STATE_RUNNING,
                                                DOMAIN_STATE_WAITING};
    for (size_t i = 0; word && i < ELEMENTS(lasting); i++)
        if (strcmp(word, domain_state_to_string(lasting[i])) == 0)
            d->state = lasting[i];
    if (problem)
        snprintf(d->problem, sizeof d->problem, "%s", problem);
}

static void restore_parts(struct domain *d, struct json_object *o, const char *key,
                          int (*restore)(struct domain *d, struct json_object *part, struct mig_error *err))
{
    struct json_object *array;
    size_t n;
    if (json_get_array(o, key, &array, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        struct mig_error e = MIG_ERROR_INIT;
        if (restore(d, json_object_array_get_idx(array, i), &e) < 0)
            restore_missing(d, &e);
    }
}

int domain_from_json(struct domain *d, struct sd_bus *bus, struct json_object *o, struct mig_error *err)
{
    const char *name = json_text_or_null(o, "name");
    if (!name || strcmp(name, d->name) != 0)
        return mig_error_set(err, MIG_ERR_FAILED, EPROTO, "it is not the saved form of domain %s", d->name);
    d->incoming = json_bool_or(o, "incoming", false);
    d->state = d->incoming ? DOMAIN_STATE_WAITING : DOMAIN_STATE_RUNNING;
    restore_state(d, o);
    restore_parts(d, o, "memory", restore_memory);
    restore_parts(d, o, "opened", restore_opened);
    restore_parts(d, o, "containers", restore_container);
    restore_parts(d, o, "devices", restore_device);
    restore_parts(d, o, "trackers", restore_tracker);
    struct json_object *controller;
    struct mig_error e = MIG_ERROR_INIT;
    if (json_object_object_get_ex(o, "controller", &controller) &&
        restore_controller(d, bus, controller, &e) < 0)
        restore_missing(d, &e);
    return 0;
}

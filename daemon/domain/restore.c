/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One saved form. Runs on a worker; the domain belongs to it alone until it is done, but for the memory that
 * pass-through clients bring. */
#include "domain/restore.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parse.h"
#include "domain/client.h"
#include "domain/structure.h"
#include "domain/uffd-again.h"
#include "vmm/controller-dbus.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The first thing that is missing goes into the domain's problem, all of them into the log. */
static void missing(struct domain *d, const struct mig_error *e)
{
    const struct log_fields fields = {.domain = d->name};
    log_mig_error(LOG_ERR, &fields, e, "cannot be restored whole");
    if (d->incomplete[0])
        return;
    snprintf(d->incomplete, sizeof d->incomplete,
             "after a restart of migd: %.280s; release the domain and register it again", e->message);
    if (d->state == DOMAIN_STATE_RUNNING || d->state == DOMAIN_STATE_WAITING)
        d->state = DOMAIN_STATE_BROKEN;
    if (!d->problem[0])
        snprintf(d->problem, sizeof d->problem, "%s", d->incomplete);
}

static uint64_t get_number(struct json_object *o, const char *key, uint64_t otherwise)
{
    uint64_t v;
    return json_get_u64(o, key, &v) == 0 ? v : otherwise;
}

static bool get_flag(struct json_object *o, const char *key, bool otherwise)
{
    bool v;
    return json_get_bool(o, key, &v) == 0 ? v : otherwise;
}

static const char *get_text(struct json_object *o, const char *key)
{
    const char *s;
    return json_get_string(o, key, &s) == 0 ? s : NULL;
}

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
    const char *name = get_text(o, "name"), *path = get_text(o, "path");
    bool writable = !get_flag(o, "read-only", false);
    uint64_t iovas[DOMAIN_IOVAS_MAX];
    size_t niovas = read_iovas(o, iovas);
    if (!name)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "its saved form has memory without a name");
    if (!path)
        return mig_error_set(
            err, MIG_ERR_FAILED, 0,
            get_flag(o, "make", false)
                ? "memory %s was made by migd, which does not hold it any more"
                : "memory %s came as a descriptor without an origin from which it could be opened again",
            name);
    _cleanup_close_ int fd = -1;
    int r = open_path("memory", name, path, writable ? O_RDWR : O_RDONLY, &fd, err);
    if (r == 0)
        r = domain_check_memory_fd(fd, name, err);
    _cleanup_(region_unrefp) struct region *region = NULL;
    if (r == 0)
        r = region_new_from_fd(&region, name, fd, get_number(o, "offset", 0), get_number(o, "size", 0),
                               writable, err);
    if (r < 0)
        return r;
    region->origin = strdup(path);
    return structure_insert_memory(d, region, iovas, niovas, err);
}

static void restore_mappings(struct domain *d, struct device *device, struct json_object *o)
{
    struct json_object *array;
    size_t n;
    if (json_get_array(o, "mappings", &array, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        struct json_object *m = json_object_array_get_idx(array, i);
        const char *memory_name = get_text(m, "memory");
        struct domain_memory *memory = memory_name ? domain_find_memory(d, memory_name) : NULL;
        struct mig_error e = MIG_ERROR_INIT;
        int r = memory
                    ? 0
                    : mig_error_set(&e, MIG_ERR_FAILED, 0, "device %s had memory %s mapped, which is missing",
                                    device->name, memory_name ? memory_name : "?");
        const struct iova_mapping mapping = {
            .iova = get_number(m, "iova", 0),
            .size_bytes = get_number(m, "size", 0),
            .region = memory ? memory->region : NULL,
            .offset_bytes = get_number(m, "offset", 0),
            .prot =
                (get_flag(m, "read", true) ? IOVA_READ : 0) | (get_flag(m, "write", true) ? IOVA_WRITE : 0),
        };
        if (r == 0)
            r = device->ops->dma_map(device, &mapping, &e);
        if (r < 0)
            missing(d, &e);
    }
}

static int restore_device(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = get_text(o, "name"), *socket = get_text(o, "socket"), *listen = get_text(o, "listen"),
               *tracker = get_text(o, "tracker"), *type = get_text(o, "type");
    if (!name)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "its saved form has a device without a name");
    if (!socket)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "device %s came as a %s, which cannot be opened again",
                             name,
                             type && strcmp(type, "vfio") == 0 ? "VFIO descriptor" : "connected socket");
    _cleanup_free_ char *socket_copy = strdup(socket), *listen_copy = listen ? strdup(listen) : NULL;
    struct domain_device dd = {
        .socket = socket_copy,
        .listen = listen_copy,
        .timeout_usec = get_number(o, "timeout", 0),
        .log_page_bytes = get_number(o, "log-page-size", REGION_PAGE_SIZE),
        .use_precopy = get_flag(o, "precopy", true),
        .automap = get_flag(o, "map", true),
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
        restore_mappings(d, device, o);
    return r;
}

/* Its descriptor went with the daemon before this one; only its owner has it. */
static int restore_container(struct domain *d, struct json_object *o, struct mig_error *err)
{
    const char *name = get_text(o, "name");
    return mig_error_set(err, MIG_ERR_FAILED, 0,
                         "container %s came as a descriptor, which cannot be opened again",
                         name ? name : "?");
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
    const char *name = get_text(o, "name"), *type = get_text(o, "type"), *memory_name = get_text(o, "memory"),
               *path = get_text(o, "path");
    struct domain_memory *memory = memory_name ? domain_find_memory(d, memory_name) : NULL;
    if (!name || !type)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "its saved form has a tracker without name or type");
    if (memory_name && !memory)
        return mig_error_set(err, MIG_ERR_FAILED, 0, "tracker %s has lost its memory %s", name, memory_name);
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    _cleanup_close_ int fd = -1;
    int r;
    if (strcmp(type, "all") == 0)
        r = restore_all_tracker(d, name, memory ? memory->region : NULL, &t, err);
    else if (strcmp(type, "cpu-log") == 0 && memory && path) {
        r = open_path("the bitmap of tracker", name, path, O_RDWR, &fd, err);
        if (r == 0)
            r = domain_check_memory_fd(fd, name, err);
        if (r == 0)
            r = tracker_new_cpu_log(&t, name, memory->region, fd, get_number(o, "offset", 0),
                                    get_number(o, "page-size", REGION_PAGE_SIZE), err);
    } else if (strcmp(type, "uffd") == 0 && memory) {
        pid_t pid = (pid_t)get_number(o, "pid", 0);
        r = uffd_take_again(pid, get_number(o, "start-time", 0), name, &fd, err);
        if (r == 0)
            r = tracker_new_uffd(&t, name, memory->region, fd, pid, get_number(o, "address", 0), err);
    } else
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
    const char *type = get_text(o, "type"), *bus_name = get_text(o, "bus-name"), *path = get_text(o, "path");
    _cleanup_(controller_unrefp) struct controller *c = NULL;
    int r;
    if (!type || strcmp(type, "none") == 0)
        return 0;
    if (strcmp(type, "dbus") == 0 && bus_name && path && bus)
        r = controller_new_dbus(&c, d->loop, bus, bus_name, path,
                                get_number(o, "timeout", CONTROLLER_DEFAULT_TIMEOUT_USEC), err);
    else
        r = mig_error_set(err, MIG_ERR_FAILED, 0, "its VMM controller of type %.40s cannot be made again",
                          type);
    if (r == 0)
        structure_set_controller(d, c, o);
    return r;
}

static void restore_state(struct domain *d, struct json_object *o)
{
    const char *word = get_text(o, "state"), *problem = get_text(o, "problem");
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
            missing(d, &e);
    }
}

int domain_from_json(struct domain *d, struct sd_bus *bus, struct json_object *o, struct mig_error *err)
{
    const char *name = get_text(o, "name");
    if (!name || strcmp(name, d->name) != 0)
        return mig_error_set(err, MIG_ERR_FAILED, EPROTO, "it is not the saved form of domain %s", d->name);
    d->incoming = get_flag(o, "incoming", false);
    d->state = d->incoming ? DOMAIN_STATE_WAITING : DOMAIN_STATE_RUNNING;
    restore_state(d, o);
    restore_parts(d, o, "memory", restore_memory);
    restore_parts(d, o, "containers", restore_container);
    restore_parts(d, o, "devices", restore_device);
    restore_parts(d, o, "trackers", restore_tracker);
    struct json_object *controller;
    struct mig_error e = MIG_ERROR_INIT;
    if (json_object_object_get_ex(o, "controller", &controller) &&
        restore_controller(d, bus, controller, &e) < 0)
        missing(d, &e);
    return 0;
}

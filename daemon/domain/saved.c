/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/saved.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/log.h"
#include "domain/opened.h"
#include "loop/fdstore.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Adds a fresh object to an array, which owns it. */
static struct json_object *append_object(struct json_object *array)
{
    struct json_object *o = json_object_new_object();
    if (o && json_object_array_add(array, o) < 0) {
        json_object_put(o);
        return NULL;
    }
    return o;
}

/* A part that came as a descriptor is found again in the service manager's store, by the name written here.
 */
static int keep_fd(struct json_object *o, const struct domain *d, const char *kind, const char *name, int fd)
{
    char part[FDSTORE_NAME_MAX], stored[FDSTORE_NAME_MAX];
    snprintf(part, sizeof part, "%s/%.127s", kind, name);
    fdstore_keep(d->name, part, fd, stored);
    return stored[0] ? json_add_string(o, "fd", stored) : 0;
}

static int add_iovas(struct json_object *o, const struct domain_memory *m)
{
    struct json_object *iovas = json_object_new_array();
    if (!iovas || json_add(o, "iova", iovas) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < m->niovas; i++) {
        char text[32];
        snprintf(text, sizeof text, "0x%" PRIx64, m->iova[i]);
        struct json_object *s = json_object_new_string(text);
        if (!s || json_object_array_add(iovas, s) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int memory_to_json(struct json_object *array, const struct domain *d, const struct domain_memory *m)
{
    const struct region *region = m->region;
    struct json_object *o = append_object(array);
    if (!o)
        return -ENOMEM;
    int r = json_add_string(o, "name", region->name);
    if (r == 0)
        r = region->made ? json_add_bool(o, "make", true) : json_add_string(o, "path", region->origin);
    if (r == 0 && region->made && region->file_page_bytes > REGION_PAGE_SIZE)
        r = json_add_u64(o, "hugepages", region->file_page_bytes);
    if (r == 0)
        r = json_add_u64(o, "offset", region->offset_bytes);
    if (r == 0)
        r = json_add_u64(o, "size", region->size_bytes);
    if (r == 0)
        r = json_add_bool(o, "read-only", !region->writable);
    if (r == 0)
        r = keep_fd(o, d, "memory", region->name, region->fd);
    return r == 0 ? add_iovas(o, m) : r;
}

/* Whether a device that is mapped automatically has this mapping anyway. */
static bool is_automatic(const struct domain *d, const struct iova_mapping *mapping)
{
    for (size_t i = 0; i < d->nmemory; i++)
        for (size_t j = 0; j < d->memory[i].niovas; j++)
            if (d->memory[i].region == mapping->region && d->memory[i].iova[j] == mapping->iova &&
                mapping->offset_bytes == 0 && mapping->size_bytes == mapping->region->size_bytes)
                return true;
    return false;
}

static int mapping_to_json(struct json_object *array, const struct iova_mapping *m)
{
    struct json_object *o = append_object(array);
    if (!o)
        return -ENOMEM;
    int r = json_add_string(o, "memory", m->region->name);
    if (r == 0)
        r = json_add_u64(o, "offset", m->offset_bytes);
    if (r == 0)
        r = json_add_u64(o, "iova", m->iova);
    if (r == 0)
        r = json_add_u64(o, "size", m->size_bytes);
    if (r == 0)
        r = json_add_bool(o, "read", m->prot & IOVA_READ);
    if (r == 0)
        r = json_add_bool(o, "write", m->prot & IOVA_WRITE);
    return r;
}

static int mappings_to_json(struct json_object *o, const struct domain *d, struct iova_map *map, bool automap)
{
    struct iova_mapping *mappings;
    size_t n;
    int r = iova_map_snapshot(map, &mappings, &n);
    if (r < 0)
        return r;
    struct json_object *array = json_object_new_array();
    r = array ? json_add(o, "mappings", array) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (!automap || !is_automatic(d, &mappings[i]))
            r = mapping_to_json(array, &mappings[i]);
    iova_mappings_free(mappings, n);
    return r;
}

/* Its descriptor, and the process that holds it too. */
static int keep_with_holder(struct json_object *o, const struct domain *d, const char *kind, const char *name,
                            int fd, int pidfd)
{
    char holder_kind[40];
    int r = keep_fd(o, d, kind, name, fd);
    if (r < 0 || pidfd < 0)
        return r;
    struct json_object *holder = json_object_new_object();
    r = holder ? json_add(o, "holder", holder) : -ENOMEM;
    snprintf(holder_kind, sizeof holder_kind, "%s-holder", kind);
    return r == 0 ? keep_fd(holder, d, holder_kind, name, pidfd) : r;
}

static int device_to_json(struct json_object *array, const struct domain *d, const struct domain_device *dd)
{
    struct json_object *o = append_object(array);
    if (!o)
        return -ENOMEM;
    int r = json_add_string(o, "name", dd->device->name);
    if (r == 0)
        r = json_add_string(o, "type", dd->device->ops->info(dd->device)->kind);
    if (r == 0)
        r = json_add_string(o, "socket", dd->socket);
    if (r == 0)
        r = json_add_string(o, "listen", dd->listen);
    if (r == 0)
        r = json_add_u64(o, "timeout", dd->timeout_usec);
    if (r == 0)
        r = json_add_string(o, "tracker",
                            dd->tracker_all         ? "all"
                            : dd->tracker_container ? "container"
                                                    : "device");
    if (r == 0)
        r = json_add_u64(o, "log-page-size", dd->log_page_bytes);
    if (r == 0)
        r = json_add_bool(o, "precopy", dd->use_precopy);
    if (r == 0)
        r = json_add_bool(o, "map", dd->automap);
    if (r == 0 && kvfio_device_is(dd->device))
        r = keep_with_holder(o, d, "device", dd->device->name, kvfio_device_fd(dd->device),
                             dd->device->ops->gone_fd(dd->device));
    if (r < 0 || dd->listen) /* a client maps, and does it again when it comes back */
        return r;
    return mappings_to_json(o, d, dd->device->map, dd->automap);
}

static int hwpts_to_json(struct json_object *o, const struct container *c)
{
    const uint32_t *hwpts;
    size_t n = container_hwpts(c, &hwpts);
    if (n == 0)
        return json_add_u64(o, "ioas", c->ioas);
    struct json_object *array = json_object_new_array();
    int r = array ? json_add(o, "hwpts", array) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct json_object *id = json_object_new_uint64(hwpts[i]);
        r = id && json_object_array_add(array, id) == 0 ? 0 : -ENOMEM;
    }
    return r == 0 ? json_add_u64(o, "ioas", c->ioas) : r;
}

static int container_to_json(struct json_object *array, const struct domain *d,
                             const struct domain_container *dc)
{
    const struct container *c = dc->container;
    struct json_object *o = append_object(array);
    int r = o ? json_add_string(o, "name", c->name) : -ENOMEM;
    if (r == 0)
        r = json_add_string(o, "type", c->ops->kind);
    if (r == 0)
        r = json_add_bool(o, "map", dc->automap);
    if (r == 0)
        r = hwpts_to_json(o, c);
    if (r == 0)
        r = json_add_bool(o, "partial", c->partial);
    if (r == 0 && domain_find_open_space(d, c->name))
        r = json_add_bool(o, "own", true);
    if (r == 0)
        r = json_add_bool(o, "maps", c->maps);
    if (r == 0)
        r = keep_with_holder(o, d, "container", c->name, c->fd, c->gone_fd);
    /* All of them: its owner mapped them, so nothing is mapped again. */
    return r == 0 ? mappings_to_json(o, d, c->map, false) : r;
}

static int containers_to_json(struct json_object *o, const struct domain *d)
{
    struct json_object *array = json_object_new_array();
    int r = array ? json_add(o, "containers", array) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < d->ncontainers; i++)
        r = container_to_json(array, d, &d->containers[i]);
    return r;
}

static int keep_beside(struct json_object *o, const char *key, const struct domain *d, const char *kind,
                       const char *name, int fd)
{
    struct json_object *beside = json_object_new_object();
    int r = beside ? json_add(o, key, beside) : -ENOMEM;
    return r == 0 ? keep_fd(beside, d, kind, name, fd) : r;
}

static int opened_to_json(struct json_object *array, const struct domain *d, const struct domain_opened *o)
{
    const struct open_device *od = o->device;
    const struct open_space *s = od->space;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"ioas", s->ioas}, {"devid", od->devid}, {"hwpt", od->hwpt}};
    struct json_object *entry = append_object(array);
    int r = entry ? json_add_string(entry, "name", od->name) : -ENOMEM;
    if (r == 0)
        r = json_add_string(entry, "address", od->target.address);
    if (r == 0)
        r = json_add_string(entry, "sysfs", od->target.sysfs);
    if (r == 0)
        r = json_add_string(entry, "interface", s->iommufd ? "iommufd" : "legacy");
    if (r == 0)
        r = json_add_string(entry, "container", s->name);
    if (r == 0)
        r = json_add_string(entry, "tracker", o->tracker);
    if (r == 0)
        r = json_add_bool(entry, "split", s->split);
    if (r == 0)
        r = json_add_bool(entry, "map-memory", o->map_memory);
    if (r == 0)
        r = json_add_bool(entry, "state", o->with_state);
    if (r == 0)
        r = json_add_bool(entry, "tracked", od->tracked);
    for (size_t i = 0; r == 0 && i < ELEMENTS(numbers); i++)
        r = json_add_u64(entry, numbers[i].key, numbers[i].value);
    if (r == 0)
        r = keep_fd(entry, d, "opened", od->name, od->fd);
    if (r == 0)
        r = keep_beside(entry, "container-kept", d, "opened-container", od->name, s->fd);
    if (r == 0 && od->group_fd >= 0)
        r = keep_beside(entry, "group-kept", d, "opened-group", od->name, od->group_fd);
    return r;
}

static int all_opened_to_json(struct json_object *o, const struct domain *d)
{
    struct json_object *array = json_object_new_array();
    int r = array ? json_add(o, "opened", array) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < d->nopened; i++)
        r = opened_to_json(array, d, &d->opened[i]);
    return r;
}

/* As it was told, and where its descriptor lies now. */
static int tracker_to_json(struct json_object *array, const struct domain *d, size_t i)
{
    const struct tracker *t = d->trackers[i];
    struct json_object *o = d->tracker_saved[i];
    int r = json_object_array_add(array, json_object_get(o)) < 0 ? -ENOMEM : 0;
    if (r < 0 || !t->ops->held_fd)
        return r;
    json_object_object_del(o, "fd");
    return keep_fd(o, d, "tracker", t->name, t->ops->held_fd(t));
}

static int parts_to_json(struct json_object *o, struct domain *d)
{
    struct json_object *memory = json_object_new_array(), *devices = json_object_new_array(),
                       *trackers = json_object_new_array();
    int r = memory ? json_add(o, "memory", memory) : -ENOMEM;
    int r2 = devices ? json_add(o, "devices", devices) : -ENOMEM;
    int r3 = trackers ? json_add(o, "trackers", trackers) : -ENOMEM;
    if (r < 0 || r2 < 0 || r3 < 0)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < d->nmemory; i++)
        if (!d->memory[i].from_client)
            r = memory_to_json(memory, d, &d->memory[i]);
    for (size_t i = 0; r == 0 && i < d->ndevices; i++)
        r = device_to_json(devices, d, &d->devices[i]);
    for (size_t i = 0; r == 0 && i < d->ntrackers; i++)
        if (d->tracker_saved[i])
            r = tracker_to_json(trackers, d, i);
    if (r == 0 && d->ncontainers)
        r = containers_to_json(o, d);
    if (r == 0 && d->nopened)
        r = all_opened_to_json(o, d);
    if (r == 0 && d->controller_saved)
        r = json_add(o, "controller", json_object_get(d->controller_saved));
    return r;
}

struct json_object *domain_to_json(struct domain *d)
{
    struct json_object *o = json_object_new_object();
    if (!o)
        return NULL;
    int r = json_add_string(o, "name", d->name);
    if (r == 0)
        r = json_add_bool(o, "incoming", d->incoming);
    if (r == 0)
        r = json_add_string(o, "state", domain_state_to_string(d->state));
    if (r == 0)
        r = json_add_string(o, "problem", d->problem);
    if (r == 0)
        r = parts_to_json(o, d);
    if (r < 0) {
        json_object_put(o);
        return NULL;
    }
    return o;
}

int domain_keep_saved(struct domain *d, const char *runtime_dir, struct mig_error *err)
{
    char path[1024];
    if ((size_t)snprintf(path, sizeof path, "%s/domains/%s.json", runtime_dir, d->name) >= sizeof path)
        return mig_error_set(err, MIG_ERR_FAILED, ENAMETOOLONG,
                             "the path of the runtime directory is too long");
    char *copy = strdup(path);
    if (!copy)
        return mig_error_oom(err);
    *strrchr(path, '/') = '\0';
    int r = mkdir_parents(path);
    if (r < 0) {
        free(copy);
        mig_error_set(err, MIG_ERR_FAILED, -r, "cannot make %s: %s", path, strerror(-r));
        mig_error_hint(err, "check the runtime directory, or register with saved=false");
        return r;
    }
    free(d->saved_path);
    d->saved_path = copy;
    d->saved = true;
    return 0;
}

void domain_save(struct domain *d)
{
    if (!d->saved_path)
        return;
    fdstore_begin(d->name);
    _cleanup_(json_object_putp) struct json_object *o = domain_to_json(d);
    if (o)
        fdstore_end(d->name);
    const char *text =
        o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)
          : NULL;
    int r = text ? write_file_atomic(d->saved_path, text, strlen(text)) : -ENOMEM;
    if (r < 0)
        log_error("Cannot write %s: %s; domain %s would not be found again after a restart of migd",
                  d->saved_path, strerror(-r), d->name);
}

void domain_forget_saved(struct domain *d)
{
    fdstore_drop(d->name);
    if (d->saved_path && unlink(d->saved_path) < 0 && errno != ENOENT)
        log_error("Cannot remove %s: %s; domain %s would come back after a restart of migd", d->saved_path,
                  strerror(errno), d->name);
    d->saved = false;
}

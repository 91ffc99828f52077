/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What no single key of a domain_spec shows. */
#include "domain-fields.h"
#include <stdio.h>
#include <string.h>

#define PAGE_BYTES 4096u

static int missing(const char *what, size_t i, const char *name, const char *key, struct mig_error *err)
{
    if (name)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s \"%.64s\": %s is missing", what, name,
                             key);
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s[%zu]: %s is missing", what, i, key);
}

static int misplaced(const char *what, const char *name, const char *key, const char *where,
                     struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s \"%.64s\": %s belongs to %s", what, name, key,
                         where);
}

/* The first of a list of keys (ended by NULL) that was given, or NULL. */
static const char *first_given(const struct field_table *table, const void *item, const char *const keys[])
{
    for (; *keys; keys++)
        if (field_given(table, item, *keys))
            return *keys;
    return NULL;
}

static int check_memory(const struct spec_memory *m, size_t i, struct mig_error *err)
{
    static const char *const of_made[] = {"hugepages", "numa-node", NULL};
    static const char *const of_given[] = {"path", "pid", "fd", "offset", "read-only", NULL};
    bool by_fd = field_given(&memory_fields, m, "fd");
    if (!m->name)
        return missing("memory", i, NULL, "name", err);
    if (!m->make && !m->path && !by_fd) {
        int r = missing("memory", i, m->name, "path", err);
        mig_error_hint(err, "Give its path, or pid and fd of a process that has it open, or make for memory "
                            "that migd makes");
        return r;
    }
    if (by_fd && m->path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "memory \"%.64s\": path and fd exclude each other", m->name);
    if (by_fd && !field_given(&memory_fields, m, "pid"))
        return missing("memory", i, m->name, "pid", err);
    if (!by_fd && !m->make && field_given(&memory_fields, m, "pid"))
        return missing("memory", i, m->name, "fd", err);
    const char *wrong = first_given(&memory_fields, m, m->make ? of_given : of_made);
    if (wrong)
        return misplaced("memory", m->name, wrong,
                         m->make ? "memory with a path, not to memory that migd makes"
                                 : "memory that migd makes (make)",
                         err);
    if (m->make && !m->size_bytes)
        return missing("memory", i, m->name, "size", err);
    if (m->offset % PAGE_BYTES || m->size_bytes % PAGE_BYTES)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "memory \"%.64s\": offset and size must be multiples of 4096", m->name);
    for (size_t k = 0; k < m->n_iova; k++)
        if (m->iova[k] % PAGE_BYTES || m->size_bytes > UINT64_MAX - m->iova[k])
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                 "memory \"%.64s\": iova 0x%llx is not a multiple of 4096, or the memory "
                                 "does not fit above it",
                                 m->name, (unsigned long long)m->iova[k]);
    return 0;
}

static int check_container(const struct spec_container *c, size_t i, struct mig_error *err)
{
    static const char *const needed[] = {"pid", "fd"};
    if (!c->name)
        return missing("container", i, NULL, "name", err);
    for (size_t k = 0; k < ELEMENTS(needed); k++)
        if (!field_given(&container_fields, c, needed[k]))
            return missing("container", i, c->name, needed[k], err);
    return 0;
}

/* Either a process has it open, or migd opens it. */
static int check_source(const struct spec_device *d, size_t i, struct mig_error *err)
{
    static const char *const of_process[] = {"pid", "fd", NULL};
    static const char *const of_opened[] = {"interface", "container",  "dirty-tracking", "split",
                                            "own-hwpt",  "map-memory", "state",          NULL};
    const char *wrong = first_given(&device_fields, d, d->address ? of_process : of_opened);
    if (wrong)
        return misplaced("device", d->name, wrong,
                         d->address ? "a device of a process (pid and fd), not to one that migd opens"
                                    : "a device that migd opens (address)",
                         err);
    for (size_t k = 0; !d->address && of_process[k]; k++)
        if (!field_given(&device_fields, d, of_process[k])) {
            int r = missing("device", i, d->name, of_process[k], err);
            mig_error_hint(
                err, "Give pid and fd of the process that has it open, or its address for migd to open");
            return r;
        }
    return 0;
}

static int check_kernel_device(const struct spec_device *d, size_t i, struct mig_error *err)
{
    static const char *const of_user[] = {"socket", "listen", NULL};
    const char *wrong = first_given(&device_fields, d, of_user);
    if (wrong)
        return misplaced("device", d->name, wrong, "a device of type vfio-user", err);
    int r = check_source(d, i, err);
    if (r < 0)
        return r;
    if (d->tracker && strcmp(d->tracker, "device") != 0 && strcmp(d->tracker, "container") != 0 &&
        strcmp(d->tracker, "auto") != 0 && strcmp(d->tracker, "all") != 0)
        return mig_error_set(
            err, MIG_ERR_INVALID_ARGUMENT, 0,
            "device \"%.64s\": tracker \"%.64s\" is not known: device, container, auto and all are", d->name,
            d->tracker);
    return 0;
}

static int check_device(const struct spec_device *d, size_t i, struct mig_error *err)
{
    static const char *const of_kernel[] = {
        "pid",   "fd",       "address",    "interface", "container", "dirty-tracking",
        "split", "own-hwpt", "map-memory", "state",     NULL};
    if (!d->name)
        return missing("device", i, NULL, "name", err);
    if (d->type && strcmp(d->type, "vfio") == 0)
        return check_kernel_device(d, i, err);
    if (d->type && strcmp(d->type, "vfio-user") != 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device \"%.64s\": type \"%.64s\" is not known: vfio-user and vfio are", d->name,
                             d->type);
    const char *wrong = first_given(&device_fields, d, of_kernel);
    if (wrong)
        return misplaced("device", d->name, wrong, "a device of type vfio", err);
    if (!d->socket)
        return missing("device", i, d->name, "socket", err);
    if (d->tracker && strcmp(d->tracker, "device") != 0 && strcmp(d->tracker, "all") != 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device \"%.64s\": tracker \"%.64s\" is not known: device and all are", d->name,
                             d->tracker);
    return 0;
}

static int check_tracker(struct domain_spec *spec, struct spec_tracker *t, size_t i, struct mig_error *err)
{
    static const struct {
        const char *type;
        const char *needs[5], *refuses[6];
    } kinds[] = {
        {"cpu-log", {"memory", "path"}, {"pid", "fd", "address"}},
        {"uffd", {"memory", "pid", "fd", "address"}, {"path", "offset", "page-size"}},
        {"soft-dirty", {"memory", "pid", "address"}, {"path", "offset", "page-size", "fd"}},
        {"digests", {"memory"}, {"path", "offset", "page-size", "pid", "fd", "address"}},
        {"all", {NULL}, {"path", "offset", "page-size", "pid", "fd"}},
    };
    const char *label = t->name ? t->name : t->type;
    if (!t->type)
        return missing("tracker", i, t->name, "type", err);
    size_t k = 0;
    while (k < ELEMENTS(kinds) && strcmp(kinds[k].type, t->type) != 0)
        k++;
    if (k == ELEMENTS(kinds))
        return mig_error_set(
            err, MIG_ERR_INVALID_ARGUMENT, 0,
            "tracker \"%.64s\": type \"%.64s\" is not known: cpu-log, uffd, soft-dirty, digests and all are",
            label, t->type);
    for (size_t n = 0; n < ELEMENTS(kinds[k].needs) && kinds[k].needs[n]; n++)
        if (!field_given(&tracker_fields, t, kinds[k].needs[n]))
            return missing("tracker", i, label, kinds[k].needs[n], err);
    for (size_t n = 0; n < ELEMENTS(kinds[k].refuses) && kinds[k].refuses[n]; n++)
        if (field_given(&tracker_fields, t, kinds[k].refuses[n]))
            return misplaced("tracker", label, kinds[k].refuses[n], "another type of tracker", err);
    if (t->memory) {
        bool found = false;
        for (size_t m = 0; m < spec->n_memory; m++)
            found = found || strcmp(spec->memory[m].name, t->memory) == 0;
        if (!found)
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                 "tracker \"%.64s\": there is no memory \"%.64s\"", label, t->memory);
    }
    if (!t->name &&
        asprintf(&t->name, "%s%s%s", t->type, t->memory ? "-" : "", t->memory ? t->memory : "") < 0) {
        t->name = NULL;
        return mig_error_oom(err);
    }
    return 0;
}

static int check_controller(const struct spec_controller *c, struct mig_error *err)
{
    if (!c->type)
        return c->has ? mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "controller: type is missing") : 0;
    if (strcmp(c->type, "none") == 0)
        return c->bus_name || c->path || c->timeout_usec
                   ? mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                   "controller: type none has no other keys")
                   : 0;
    if (strcmp(c->type, "qmp") == 0)
        return c->bus_name || !c->path ? mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                                       "controller: type qmp has path, and no bus-name")
                                       : 0;
    if (strcmp(c->type, "dbus") != 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "controller: type \"%.64s\" is not known: none, dbus and qmp are", c->type);
    /* migd would take migctl itself, which is gone soon, for the controller. */
    if (!c->bus_name)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "controller: bus-name is missing");
    if (!c->path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "controller: path is missing");
    return 0;
}

static int name_twice(const char *what, const char *name, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "two %s are named \"%.64s\"", what, name);
}

int domain_spec_check(struct domain_spec *spec, struct mig_error *err)
{
    int r;
    if (!spec->name)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "the domain has no name");
    for (size_t i = 0; i < spec->n_memory; i++) {
        if ((r = check_memory(&spec->memory[i], i, err)) < 0)
            return r;
        for (size_t k = 0; k < i; k++)
            if (strcmp(spec->memory[i].name, spec->memory[k].name) == 0)
                return name_twice("pieces of memory", spec->memory[i].name, err);
    }
    for (size_t i = 0; i < spec->n_containers; i++) {
        if ((r = check_container(&spec->containers[i], i, err)) < 0)
            return r;
        for (size_t k = 0; k < i; k++)
            if (strcmp(spec->containers[i].name, spec->containers[k].name) == 0)
                return name_twice("containers", spec->containers[i].name, err);
    }
    for (size_t i = 0; i < spec->n_devices; i++) {
        if ((r = check_device(&spec->devices[i], i, err)) < 0)
            return r;
        for (size_t k = 0; k < i; k++)
            if (strcmp(spec->devices[i].name, spec->devices[k].name) == 0)
                return name_twice("devices", spec->devices[i].name, err);
    }
    for (size_t i = 0; i < spec->n_trackers; i++) {
        if ((r = check_tracker(spec, &spec->trackers[i], i, err)) < 0)
            return r;
        for (size_t k = 0; k < i; k++)
            if (strcmp(spec->trackers[i].name, spec->trackers[k].name) == 0)
                return name_twice("trackers", spec->trackers[i].name, err);
    }
    return check_controller(&spec->controller, err);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/qemu-guest.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/log.h"
#include "dirty/uffd-inject.h"
#include "domain/kernel-devices.h"
#include "domain/uffd-again.h"
#include "vmm/controller-libvirt.h"
#include "vmm/controller-qmp.h"
#include "vmm/qemu-containers.h"
#include "vmm/qemu-layout.h"
#include "vmm/qemu-memory.h"
#include <stdio.h>
#include <string.h>

struct qemu_guest {
    struct domain *domain;
    struct qemu_guest_options o;
    char path[108];
    const char *watch; /* the kind that it is */
    pid_t pid;
    struct qemu_memory *memory;
    size_t nmemory;
    struct region **regions;
    struct tracker **trackers;
    struct container *containers[QEMU_CONTAINERS_MAX];
    size_t ncontainers;
};

int qemu_guest_new(struct qemu_guest **ret, struct domain *d, const struct qemu_guest_options *options,
                   struct mig_error *err)
{
    static const char *const watches[] = {"auto", "uffd", "soft-dirty", "digests", "none"};
    const char *watch = NULL;
    struct qemu_guest *g;
    for (size_t i = 0; i < ELEMENTS(watches); i++)
        if (strcmp(options->watch, watches[i]) == 0)
            watch = watches[i];
    if (!watch) {
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "cpu-tracker \"%.40s\" is not known", options->watch);
        mig_error_hint(err, "auto, uffd, soft-dirty, digests, or none where AddDirtyLog follows");
        return -EINVAL;
    }
    if (options->path[0] != '/' || strlen(options->path) >= sizeof g->path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "\"%.120s\" is not the absolute path of a UNIX socket", options->path);
    g = calloc(1, sizeof *g);
    if (!g)
        return mig_error_oom(err);
    g->domain = domain_ref(d);
    g->o = *options;
    snprintf(g->path, sizeof g->path, "%s", options->path);
    g->o.path = g->path;
    g->watch = watch;
    *ret = g;
    return 0;
}

struct qemu_guest *qemu_guest_free(struct qemu_guest *g)
{
    if (!g)
        return NULL;
    for (size_t i = 0; i < g->nmemory; i++) {
        region_unref(g->regions ? g->regions[i] : NULL);
        tracker_free(g->trackers ? g->trackers[i] : NULL);
    }
    for (size_t i = 0; i < g->ncontainers; i++)
        container_unref(g->containers[i]);
    free(g->regions);
    free(g->trackers);
    qemu_memory_free(g->memory, g->nmemory);
    domain_unref(g->domain);
    free(g);
    return NULL;
}

static void name_tracker(char *buf, size_t size, const struct qemu_memory *m)
{
    snprintf(buf, size, "cpu-%.50s", m->id);
}

static bool watches(const struct qemu_guest *g)
{
    return strcmp(g->watch, "none") != 0;
}

static int make_regions(struct qemu_guest *g, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; i < g->nmemory && r == 0; i++) {
        const struct qemu_memory *m = &g->memory[i];
        r = domain_part_name_check("memory", m->id, err);
        if (r == 0)
            r = region_new_from_fd(&g->regions[i], m->id, m->fd, 0, m->size_bytes, true, err);
        if (r == 0 && !(g->regions[i]->origin = strdup(m->origin)))
            r = mig_error_oom(err);
        if (r == 0)
            r = domain_map_memory(g->domain, g->regions[i], NULL, 0, err);
    }
    return r;
}

/* One userfaultfd watches all of it. */
static int make_trackers(struct qemu_guest *g, const char *kind, struct mig_error *err)
{
    char name[TRACKER_NAME_MAX + 1];
    _cleanup_close_ int fd = -1;
    bool uffd = strcmp(kind, "uffd") == 0, bits = strcmp(kind, "soft-dirty") == 0;
    int r = uffd ? uffd_inject(g->pid, "cpu", &fd, err) : 0;
    for (size_t i = 0; i < g->nmemory && r == 0; i++) {
        struct tracker **t = &g->trackers[i];
        uint64_t address = g->memory[i].address;
        name_tracker(name, sizeof name, &g->memory[i]);
        r = uffd   ? tracker_new_uffd(t, name, g->regions[i], fd, g->pid, address, err)
            : bits ? tracker_new_soft_dirty(t, name, g->regions[i], g->pid, address, err)
                   : tracker_new_digests(t, name, g->regions[i], err);
    }
    for (size_t i = 0; i < g->nmemory && r < 0; i++)
        g->trackers[i] = tracker_free(g->trackers[i]);
    return r;
}

/* The cheapest that works here. */
static int choose_trackers(struct qemu_guest *g, struct mig_error *err)
{
    static const char *const kinds[] = {"uffd", "soft-dirty", "digests"};
    if (strcmp(g->watch, "auto") != 0)
        return make_trackers(g, g->watch, err);
    for (size_t i = 0;; i++) {
        struct mig_error e = MIG_ERROR_INIT;
        int r = make_trackers(g, kinds[i], &e);
        if (r == 0) {
            g->watch = kinds[i];
            return 0;
        }
        if (i + 1 == ELEMENTS(kinds)) {
            *err = e;
            return r;
        }
        const struct log_fields fields = {.domain = g->domain->name};
        char prefix[64];
        snprintf(prefix, sizeof prefix, "CPU writes are not found by %s", kinds[i]);
        log_mig_error(LOG_NOTICE, &fields, &e, prefix);
    }
}

static int map_pieces(struct qemu_guest *g, const struct qemu_piece *pieces, size_t n, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; i < g->ncontainers && r == 0; i++)
        for (size_t k = 0; k < n && r == 0; k++) {
            const struct iova_mapping m = {.iova = pieces[k].address,
                                           .size_bytes = pieces[k].size_bytes,
                                           .region = g->regions[pieces[k].memory],
                                           .offset_bytes = pieces[k].offset_bytes,
                                           .prot = IOVA_READ | IOVA_WRITE};
            r = container_map(g->containers[i], &m, err);
        }
    return r;
}

/* QEMU maps all that its guest sees, at the guest's addresses. */
static int make_containers(struct qemu_guest *g, struct qmp *q, uint64_t deadline_usec, struct mig_error *err)
{
    _cleanup_free_ struct qemu_piece *pieces = NULL;
    size_t n = 0;
    int r = qemu_containers_take(q, g->containers, &g->ncontainers, err);
    if (r < 0 || g->ncontainers == 0)
        return r;
    r = qemu_layout_ask(q, deadline_usec, g->memory, g->nmemory, &pieces, &n, err);
    return r < 0 ? r : map_pieces(g, pieces, n, err);
}

int qemu_guest_take(struct qemu_guest *g, struct mig_error *err)
{
    _cleanup_(qmp_freep) struct qmp *q = NULL;
    uint64_t deadline_usec = deadline_in(g->o.timeout_usec);
    int r = qmp_open(&q, g->path, deadline_usec, err);
    if (r < 0)
        return r;
    g->pid = qmp_pid(q);
    r = qemu_memory_list(q, deadline_usec, &g->memory, &g->nmemory, err);
    if (r < 0)
        return r;
    g->regions = calloc(g->nmemory, sizeof(struct region *));
    g->trackers = calloc(g->nmemory, sizeof(struct tracker *));
    if (!g->regions || !g->trackers)
        return mig_error_oom(err);
    r = make_regions(g, err);
    if (r == 0 && g->o.with_containers)
        r = make_containers(g, q, deadline_usec, err);
    return r == 0 && watches(g) ? choose_trackers(g, err) : r;
}

/* With the keys of the domain file: how it is made again after a restart. */
static struct json_object *describe_tracker(const struct qemu_guest *g, size_t i)
{
    char name[TRACKER_NAME_MAX + 1];
    struct json_object *o = json_object_new_object();
    name_tracker(name, sizeof name, &g->memory[i]);
    bool of_process = strcmp(g->watch, "digests") != 0;
    if (o && json_add_string(o, "name", name) == 0 && json_add_string(o, "type", g->watch) == 0 &&
        json_add_string(o, "memory", g->memory[i].id) == 0 &&
        (!of_process || (json_add_u64(o, "pid", (uint64_t)g->pid) == 0 &&
                         json_add_u64(o, "start-time", process_start_time(g->pid)) == 0 &&
                         json_add_u64(o, "address", g->memory[i].address) == 0)))
        return o;
    json_object_put(o);
    return NULL;
}

static int take_controller(struct qemu_guest *g, struct mig_error *err)
{
    _cleanup_(controller_unrefp) struct controller *c = NULL;
    _cleanup_(json_object_putp) struct json_object *saved = json_object_new_object();
    const char *type = g->o.by_libvirt ? "libvirt" : "qmp";
    if (!saved || json_add_string(saved, "type", type) < 0 || json_add_string(saved, "path", g->path) < 0 ||
        json_add_u64(saved, "timeout", g->o.timeout_usec) < 0)
        return mig_error_oom(err);
    int r = g->o.by_libvirt ? controller_new_libvirt(&c, g->domain->name, g->path, g->o.timeout_usec,
                                                     g->o.barrier, g->o.userdata, err)
                            : controller_new_qmp(&c, g->path, g->o.timeout_usec, err);
    return r < 0 ? r : domain_set_controller(g->domain, c, saved, err);
}

int qemu_guest_insert(struct qemu_guest *g, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; i < g->nmemory && r == 0; i++)
        r = domain_insert_memory(g->domain, g->regions[i], NULL, 0, err);
    for (size_t i = 0; i < g->nmemory && r == 0 && watches(g); i++) {
        _cleanup_(json_object_putp) struct json_object *saved = describe_tracker(g, i);
        r = saved ? domain_add_tracker(g->domain, g->trackers[i], saved, err) : mig_error_oom(err);
        if (r == 0)
            g->trackers[i] = NULL;
    }
    for (size_t i = 0; i < g->ncontainers && r == 0; i++) {
        const struct domain_container c = {.container = g->containers[i]};
        r = domain_insert_container(g->domain, &c, err);
    }
    if (r == 0 && g->ncontainers > 0)
        domain_watch_devices(g->domain);
    return r < 0 ? r : take_controller(g, err);
}

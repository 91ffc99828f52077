/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain.AddQemu: memory, trackers, VFIO containers and controller of a stock QEMU, from its monitor and from
 * what the kernel knows of its process. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "dirty/uffd-inject.h"
#include "domain/kernel-devices.h"
#include "domain/uffd-again.h"
#include "vmm/controller-qmp.h"
#include "vmm/qemu-containers.h"
#include "vmm/qemu-layout.h"
#include "vmm/qemu-memory.h"
#include <stdio.h>
#include <string.h>

#define DEFAULT_TIMEOUT_USEC (10 * USEC_PER_SEC)

struct qemu_work {
    struct domain *domain; /* the job holds the reference */
    char path[108];
    uint64_t timeout_usec;
    bool watch;           /* CPU writes, by userfaultfd */
    bool with_containers; /* what passed-through devices write, by the containers that they are in */
    pid_t pid;
    struct qemu_memory *memory;
    size_t nmemory;
    struct region **regions;
    struct tracker **trackers;
    struct container *containers[QEMU_CONTAINERS_MAX];
    size_t ncontainers;
};

static void free_work(void *work)
{
    struct qemu_work *w = work;
    for (size_t i = 0; i < w->nmemory; i++) {
        region_unref(w->regions ? w->regions[i] : NULL);
        tracker_free(w->trackers ? w->trackers[i] : NULL);
    }
    for (size_t i = 0; i < w->ncontainers; i++)
        container_unref(w->containers[i]);
    free(w->regions);
    free(w->trackers);
    qemu_memory_free(w->memory, w->nmemory);
    free(w);
}

static void free_workp(struct qemu_work **w)
{
    if (*w)
        free_work(*w);
}

static void name_tracker(char *buf, size_t size, const struct qemu_memory *m)
{
    snprintf(buf, size, "cpu-%.50s", m->id);
}

static int make_regions(struct qemu_work *w, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; i < w->nmemory && r == 0; i++) {
        const struct qemu_memory *m = &w->memory[i];
        r = domain_part_name_check("memory", m->id, err);
        if (r == 0)
            r = region_new_from_fd(&w->regions[i], m->id, m->fd, 0, m->size_bytes, true, err);
        if (r == 0 && !(w->regions[i]->origin = strdup(m->origin)))
            r = mig_error_oom(err);
        if (r == 0)
            r = domain_map_memory(w->domain, w->regions[i], NULL, 0, err);
    }
    return r;
}

/* One userfaultfd watches all of it. */
static int make_trackers(struct qemu_work *w, struct mig_error *err)
{
    char name[TRACKER_NAME_MAX + 1];
    int fd, r = uffd_inject(w->pid, "cpu", &fd, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < w->nmemory && r == 0; i++) {
        name_tracker(name, sizeof name, &w->memory[i]);
        r = tracker_new_uffd(&w->trackers[i], name, w->regions[i], fd, w->pid, w->memory[i].address, err);
    }
    close(fd);
    return r;
}

static int map_pieces(struct qemu_work *w, const struct qemu_piece *pieces, size_t n, struct mig_error *err)
{
    int r = 0;
    for (size_t i = 0; i < w->ncontainers && r == 0; i++)
        for (size_t k = 0; k < n && r == 0; k++) {
            const struct iova_mapping m = {.iova = pieces[k].address,
                                           .size_bytes = pieces[k].size_bytes,
                                           .region = w->regions[pieces[k].memory],
                                           .offset_bytes = pieces[k].offset_bytes,
                                           .prot = IOVA_READ | IOVA_WRITE};
            r = container_map(w->containers[i], &m, err);
        }
    return r;
}

/* QEMU maps all that its guest sees, at the guest's addresses. */
static int make_containers(struct qemu_work *w, struct qmp *q, uint64_t deadline_usec, struct mig_error *err)
{
    _cleanup_free_ struct qemu_piece *pieces = NULL;
    size_t n = 0;
    int r = qemu_containers_take(q, w->containers, &w->ncontainers, err);
    if (r < 0 || w->ncontainers == 0)
        return r;
    r = qemu_layout_ask(q, deadline_usec, w->memory, w->nmemory, &pieces, &n, err);
    return r < 0 ? r : map_pieces(w, pieces, n, err);
}

static int run(void *work, struct mig_error *err)
{
    struct qemu_work *w = work;
    _cleanup_(qmp_freep) struct qmp *q = NULL;
    uint64_t deadline_usec = deadline_in(w->timeout_usec);
    int r = qmp_open(&q, w->path, deadline_usec, err);
    if (r < 0)
        return r;
    w->pid = qmp_pid(q);
    r = qemu_memory_list(q, deadline_usec, &w->memory, &w->nmemory, err);
    if (r < 0)
        return r;
    w->regions = calloc(w->nmemory, sizeof(struct region *));
    w->trackers = calloc(w->nmemory, sizeof(struct tracker *));
    if (!w->regions || !w->trackers)
        return mig_error_oom(err);
    r = make_regions(w, err);
    if (r == 0 && w->with_containers)
        r = make_containers(w, q, deadline_usec, err);
    return r == 0 && w->watch ? make_trackers(w, err) : r;
}

/* With the keys of the domain file: how it is made again after a restart. */
static struct json_object *describe_tracker(const struct qemu_work *w, size_t i)
{
    char name[TRACKER_NAME_MAX + 1];
    struct json_object *o = json_object_new_object();
    name_tracker(name, sizeof name, &w->memory[i]);
    if (o && json_add_string(o, "name", name) == 0 && json_add_string(o, "type", "uffd") == 0 &&
        json_add_string(o, "memory", w->memory[i].id) == 0 && json_add_u64(o, "pid", (uint64_t)w->pid) == 0 &&
        json_add_u64(o, "start-time", process_start_time(w->pid)) == 0 &&
        json_add_u64(o, "address", w->memory[i].address) == 0)
        return o;
    json_object_put(o);
    return NULL;
}

static int take_controller(struct qemu_work *w, struct mig_error *err)
{
    _cleanup_(controller_unrefp) struct controller *c = NULL;
    _cleanup_(json_object_putp) struct json_object *saved = json_object_new_object();
    if (!saved || json_add_string(saved, "type", "qmp") < 0 || json_add_string(saved, "path", w->path) < 0 ||
        json_add_u64(saved, "timeout", w->timeout_usec) < 0)
        return mig_error_oom(err);
    int r = controller_new_qmp(&c, w->path, w->timeout_usec, err);
    return r < 0 ? r : domain_set_controller(w->domain, c, saved, err);
}

static int finish(void *work, struct mig_error *err)
{
    struct qemu_work *w = work;
    int r = 0;
    for (size_t i = 0; i < w->nmemory && r == 0; i++)
        r = domain_insert_memory(w->domain, w->regions[i], NULL, 0, err);
    for (size_t i = 0; i < w->nmemory && r == 0 && w->watch; i++) {
        _cleanup_(json_object_putp) struct json_object *saved = describe_tracker(w, i);
        r = saved ? domain_add_tracker(w->domain, w->trackers[i], saved, err) : mig_error_oom(err);
        if (r == 0)
            w->trackers[i] = NULL;
    }
    for (size_t i = 0; i < w->ncontainers && r == 0; i++) {
        const struct domain_container c = {.container = w->containers[i]};
        r = domain_insert_container(w->domain, &c, err);
    }
    if (r == 0 && w->ncontainers > 0)
        domain_watch_devices(w->domain);
    return r < 0 ? r : take_controller(w, err);
}

static const struct api_job_ops ops = {.run = run, .finish = finish, .free = free_work};

int api_domain_add_qemu(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_workp) struct qemu_work *w = calloc(1, sizeof *w);
    const char *path, *watch = "uffd";
    if (!w)
        return -ENOMEM;
    w->timeout_usec = DEFAULT_TIMEOUT_USEC;
    w->with_containers = true;
    const struct api_option options[] = {{"timeout", API_U64, &w->timeout_usec},
                                         {"containers", API_BOOL, &w->with_containers},
                                         {"cpu-tracker", API_STRING, &watch}};
    int r = sd_bus_message_read(m, "s", &path);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0)
        return api_error(error, &e);
    if (path[0] != '/' || strlen(path) >= sizeof w->path) {
        mig_error_set(&e, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.120s\" is not the absolute path of a UNIX socket",
                      path);
        return api_error(error, &e);
    }
    if (strcmp(watch, "uffd") != 0 && strcmp(watch, "none") != 0) {
        mig_error_set(&e, MIG_ERR_INVALID_ARGUMENT, 0, "cpu-tracker \"%.40s\" is not known", watch);
        mig_error_hint(&e, "uffd, or none where AddDirtyLog follows");
        return api_error(error, &e);
    }
    snprintf(w->path, sizeof w->path, "%s", path);
    w->watch = strcmp(watch, "uffd") == 0;
    w->domain = ad->domain;
    r = api_job_start(ad->api, m, ad->domain, "AddQemu", &ops, TAKE_PTR(w), &e);
    return r < 0 ? api_error(error, &e) : r;
}

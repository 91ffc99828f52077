/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain.AddMemory, MakeMemory, OpenMemory. A descriptor from outside is looked at by a helper: it may belong
 * to a file system that takes its time. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/fds.h"
#include "domain/client.h"
#include <stdio.h>
#include <string.h>

struct memory_work {
    struct domain *domain; /* the job holds the reference */
    char name[REGION_NAME_MAX + 1];
    int fd; /* -1: make it */
    uint64_t offset_bytes, size_bytes, hugepage_bytes;
    int32_t numa_node;
    bool read_only;
    char *origin;
    uint64_t iovas[DOMAIN_IOVAS_MAX];
    size_t niovas;
    struct region *region;
};

static void free_work(void *work)
{
    struct memory_work *w = work;
    close_fd(&w->fd);
    region_unref(w->region);
    free(w->origin);
    free(w);
}

static void free_workp(struct memory_work **w)
{
    if (*w)
        free_work(*w);
}

static int run(void *work, struct mig_error *err)
{
    struct memory_work *w = work;
    int r;
    if (w->fd < 0)
        r = region_new_made(&w->region, w->name, w->size_bytes, w->hugepage_bytes, w->numa_node, err);
    else {
        r = domain_check_memory_fd(w->fd, w->name, err);
        if (r == 0)
            r = region_new_from_fd(&w->region, w->name, w->fd, w->offset_bytes, w->size_bytes, !w->read_only,
                                   err);
    }
    if (r < 0)
        return r;
    w->region->origin = TAKE_PTR(w->origin);
    return domain_map_memory(w->domain, w->region, w->iovas, w->niovas, err);
}

static int finish(void *work, struct mig_error *err)
{
    struct memory_work *w = work;
    return domain_insert_memory(w->domain, w->region, w->iovas, w->niovas, err);
}

static int answer_index(void *work, sd_bus_message *reply)
{
    return sd_bus_message_append(reply, "u", ((struct memory_work *)work)->region->index);
}

static int answer_index_and_fd(void *work, sd_bus_message *reply)
{
    struct region *region = ((struct memory_work *)work)->region;
    return sd_bus_message_append(reply, "uh", region->index, region->fd);
}

static const struct api_job_ops add_ops = {
    .run = run, .finish = finish, .answer = answer_index, .free = free_work};
static const struct api_job_ops make_ops = {
    .run = run, .finish = finish, .answer = answer_index_and_fd, .free = free_work};

static int new_work(struct memory_work **ret, struct api_domain *ad, const char *name, struct mig_error *err)
{
    int r = domain_part_name_check("memory", name, err);
    if (r < 0)
        return r;
    if (domain_find_memory(ad->domain, name))
        return mig_error_set(err, MIG_ERR_EXISTS, 0, "domain %s already has memory named %s",
                             ad->domain->name, name);
    struct memory_work *w = calloc(1, sizeof *w);
    if (!w)
        return mig_error_oom(err);
    w->domain = ad->domain;
    w->fd = -1;
    w->numa_node = -1;
    snprintf(w->name, sizeof w->name, "%s", name);
    *ret = w;
    return 0;
}

static int take_iovas(struct memory_work *w, const struct api_u64s *iovas, struct mig_error *err)
{
    if (iovas->n > DOMAIN_IOVAS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "memory %s has %zu IOVAs, the limit is %u", w->name,
                             iovas->n, DOMAIN_IOVAS_MAX);
    for (size_t i = 0; i < iovas->n; i++)
        w->iovas[i] = iovas->values[i];
    w->niovas = iovas->n;
    return 0;
}

static int start(struct api_domain *ad, sd_bus_message *m, const char *method, const struct api_job_ops *ops,
                 struct memory_work **w, struct mig_error *err)
{
    char what[96];
    snprintf(what, sizeof what, "%s %s", method, (*w)->name);
    return api_job_start(ad->api, m, ad->domain, what, ops, TAKE_PTR(*w), err);
}

int api_domain_add_memory(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_workp) struct memory_work *w = NULL;
    const char *name, *origin = NULL;
    struct api_u64s iovas = {NULL, 0};
    bool read_only = false;
    uint64_t offset, size;
    int fd;
    const struct api_option options[] = {
        {"origin", API_STRING, &origin}, {"iova", API_U64S, &iovas}, {"read-only", API_BOOL, &read_only}};
    int r = sd_bus_message_read(m, "shtt", &name, &fd, &offset, &size);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        new_work(&w, ad, name, &e) < 0 || take_iovas(w, &iovas, &e) < 0)
        return api_error(error, &e);
    w->fd = fd_dup(fd);
    w->origin = origin && *origin ? strdup(origin) : NULL;
    w->offset_bytes = offset;
    w->size_bytes = size;
    w->read_only = read_only;
    if (w->fd < 0 || (origin && *origin && !w->origin))
        return -ENOMEM;
    if (read_only && ad->domain->incoming) {
        mig_error_set(&e, MIG_ERR_INVALID_ARGUMENT, 0,
                      "memory %s cannot be read-only: domain %s is incoming, migd writes it", name,
                      ad->domain->name);
        return api_error(error, &e);
    }
    r = start(ad, m, "AddMemory", &add_ops, &w, &e);
    return r < 0 ? api_error(error, &e) : r;
}

int api_domain_make_memory(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_workp) struct memory_work *w = NULL;
    const char *name;
    struct api_u64s iovas = {NULL, 0};
    uint64_t size, hugepages = 0;
    int32_t numa_node = -1;
    const struct api_option options[] = {
        {"iova", API_U64S, &iovas}, {"hugepages", API_U64, &hugepages}, {"numa-node", API_I32, &numa_node}};
    int r = sd_bus_message_read(m, "st", &name, &size);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        new_work(&w, ad, name, &e) < 0 || take_iovas(w, &iovas, &e) < 0)
        return api_error(error, &e);
    w->size_bytes = size;
    w->hugepage_bytes = hugepages;
    w->numa_node = numa_node;
    r = start(ad, m, "MakeMemory", &make_ops, &w, &e);
    return r < 0 ? api_error(error, &e) : r;
}

int api_domain_open_memory(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *name;
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    /* Guest memory is nothing that everybody may look at. */
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, NULL, 0, &e) < 0)
        return api_error(error, &e);
    const struct domain_memory *memory = domain_find_memory(ad->domain, name);
    if (!memory) {
        mig_error_set(&e, MIG_ERR_NO_SUCH_OBJECT, 0, "domain %s has no memory named %.80s", ad->domain->name,
                      name);
        return api_error(error, &e);
    }
    return sd_bus_reply_method_return(m, "htt", memory->region->fd, memory->region->offset_bytes,
                                      memory->region->size_bytes);
}

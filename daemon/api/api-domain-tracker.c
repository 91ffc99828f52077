/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain.AddDirtyLog and SetController. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/fds.h"
#include "base/json.h"
#include "domain/client.h"
#include "domain/uffd-again.h"
#include "vmm/controller-dbus.h"
#include "vmm/controller-qmp.h"
#include <stdio.h>
#include <string.h>

struct log_options {
    const char *memory, *origin;
    uint64_t offset, page_size, address;
    uint32_t pid;
    bool has_memory, has_offset, has_page_size, has_origin, has_pid, has_address;
};

struct log_work {
    struct domain *domain; /* the job holds the reference */
    char name[TRACKER_NAME_MAX + 1];
    char type[16];
    struct log_options o; /* its strings are not used here */
    int fd;
    struct region **regions; /* referenced */
    size_t nregions;
    struct json_object *saved;
    struct tracker *tracker;
};

static void free_log_work(void *work)
{
    struct log_work *w = work;
    close_fd(&w->fd);
    for (size_t i = 0; i < w->nregions; i++)
        region_unref(w->regions[i]);
    free(w->regions);
    json_object_put(w->saved);
    tracker_free(w->tracker);
    free(w);
}

static void free_log_workp(struct log_work **w)
{
    if (*w)
        free_log_work(*w);
}

static int make_tracker(void *work, struct mig_error *err)
{
    struct log_work *w = work;
    if (strcmp(w->type, "all") == 0)
        return tracker_new_all(&w->tracker, w->name, w->name, w->regions, w->nregions, err);
    if (strcmp(w->type, "uffd") == 0)
        return tracker_new_uffd(&w->tracker, w->name, w->regions[0], w->fd, (pid_t)w->o.pid, w->o.address,
                                err);
    if (strcmp(w->type, "soft-dirty") == 0)
        return tracker_new_soft_dirty(&w->tracker, w->name, w->regions[0], (pid_t)w->o.pid, w->o.address,
                                      err);
    if (strcmp(w->type, "digests") == 0)
        return tracker_new_digests(&w->tracker, w->name, w->regions[0], err);
    int r = domain_check_memory_fd(w->fd, w->name, err);
    return r < 0 ? r
                 : tracker_new_cpu_log(&w->tracker, w->name, w->regions[0], w->fd, w->o.offset,
                                       w->o.page_size, err);
}

static int take_tracker(void *work, struct mig_error *err)
{
    struct log_work *w = work;
    int r = domain_add_tracker(w->domain, w->tracker, w->saved, err);
    if (r == 0)
        w->tracker = NULL;
    return r;
}

static const struct api_job_ops log_ops = {
    .run = make_tracker, .finish = take_tracker, .free = free_log_work};

/* Which options and how many descriptors each type takes. */
struct log_type {
    const char *name;
    bool memory_needed, fd, offset, page_size, origin, pid, address;
};
static const struct log_type log_types[] = {
    {"cpu-log", .memory_needed = true, .fd = true, .offset = true, .page_size = true, .origin = true},
    {"uffd", .memory_needed = true, .fd = true, .pid = true, .address = true},
    {"soft-dirty", .memory_needed = true, .pid = true, .address = true},
    {"digests", .memory_needed = true},
    {"all"},
};

static int refuse_option(const struct log_type *t, const char *key, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a tracker of type %s has no option \"%s\"",
                         t->name, key);
}

static int check_log_options(const struct log_type *t, const struct log_options *o, size_t nfds,
                             struct mig_error *err)
{
    const struct {
        const char *key;
        bool given, allowed;
    } keys[] = {
        {"offset", o->has_offset, t->offset},    {"page-size", o->has_page_size, t->page_size},
        {"origin", o->has_origin, t->origin},    {"pid", o->has_pid, t->pid},
        {"address", o->has_address, t->address},
    };
    for (size_t i = 0; i < ELEMENTS(keys); i++)
        if (keys[i].given && !keys[i].allowed)
            return refuse_option(t, keys[i].key, err);
    if (nfds != t->fd)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "a tracker of type %s takes %s, %zu were given", t->name,
                             t->fd ? "one descriptor" : "no descriptors", nfds);
    if (t->memory_needed && !o->has_memory)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a tracker of type %s needs option \"memory\"",
                             t->name);
    if (t->pid && (!o->has_pid || !o->has_address || o->pid == 0 || o->pid > INT32_MAX))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "a tracker of type %s needs options \"pid\" and \"address\"", t->name);
    return 0;
}

static int find_log_type(const char *type, const struct log_type **ret, struct mig_error *err)
{
    for (size_t i = 0; i < ELEMENTS(log_types); i++)
        if (strcmp(type, log_types[i].name) == 0) {
            *ret = &log_types[i];
            return 0;
        }
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.40s\" is not a type of dirty log", type);
    mig_error_hint(err, "cpu-log, uffd, soft-dirty, digests or all");
    return r;
}

static int gather_regions(struct log_work *w, struct domain *d, const struct log_options *o,
                          struct mig_error *err)
{
    const struct domain_memory *one = NULL;
    if (o->has_memory && !(one = domain_find_memory(d, o->memory)))
        return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0, "domain %s has no memory named %.80s", d->name,
                             o->memory);
    w->regions = calloc(DOMAIN_REGIONS_MAX, sizeof *w->regions);
    if (!w->regions)
        return mig_error_oom(err);
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->nmemory; i++)
        if (!one || one == &d->memory[i])
            w->regions[w->nregions++] = region_ref(d->memory[i].region);
    pthread_mutex_unlock(&d->lock);
    return 0;
}

/* How the tracker is made again after a restart, with the keys of the domain file. */
static int describe(struct log_work *w, const struct log_options *o)
{
    w->saved = json_object_new_object();
    if (!w->saved)
        return -ENOMEM;
    int r = json_add_string(w->saved, "name", w->name);
    if (r == 0)
        r = json_add_string(w->saved, "type", w->type);
    if (r == 0 && o->has_memory)
        r = json_add_string(w->saved, "memory", o->memory);
    if (r == 0 && o->has_origin)
        r = json_add_string(w->saved, "path", o->origin);
    if (r == 0 && strcmp(w->type, "cpu-log") == 0) {
        r = json_add_u64(w->saved, "offset", o->offset);
        if (r == 0)
            r = json_add_u64(w->saved, "page-size", o->page_size);
    }
    if (r == 0 && o->has_pid) {
        r = json_add_u64(w->saved, "pid", o->pid);
        if (r == 0)
            r = json_add_u64(w->saved, "start-time", process_start_time((pid_t)o->pid));
        if (r == 0)
            r = json_add_u64(w->saved, "address", o->address);
    }
    return r;
}

static int prepare_log(struct api_domain *ad, const char *name, const char *type, const struct log_options *o,
                       int fd, size_t nfds, struct log_work *w, struct mig_error *err)
{
    const struct log_type *t = NULL;
    int r = domain_part_name_check("tracker", name, err);
    if (r == 0)
        r = find_log_type(type, &t, err);
    if (r == 0)
        r = check_log_options(t, o, nfds, err);
    if (r == 0 && domain_find_tracker(ad->domain, name))
        r = mig_error_set(err, MIG_ERR_EXISTS, 0, "domain %s already has a tracker named %s",
                          ad->domain->name, name);
    if (r == 0)
        r = gather_regions(w, ad->domain, o, err);
    if (r < 0)
        return r;
    w->domain = ad->domain;
    w->o = *o;
    snprintf(w->name, sizeof w->name, "%s", name);
    snprintf(w->type, sizeof w->type, "%s", type);
    w->fd = nfds ? fd_dup(fd) : -1;
    return (nfds && w->fd < 0) || describe(w, o) < 0 ? mig_error_oom(err) : 0;
}

static int read_fds(sd_bus_message *m, int *ret_first, size_t *ret_n)
{
    int fd, r = sd_bus_message_enter_container(m, 'a', "h");
    *ret_n = 0;
    if (r < 0)
        return r;
    while ((r = sd_bus_message_read_basic(m, 'h', &fd)) > 0)
        if ((*ret_n)++ == 0)
            *ret_first = fd;
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

int api_domain_add_dirty_log(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_log_workp) struct log_work *w = calloc(1, sizeof *w);
    struct log_options o = {.page_size = REGION_PAGE_SIZE};
    const struct api_option options[] = {
        {"memory", API_STRING, &o.memory, &o.has_memory},
        {"offset", API_U64, &o.offset, &o.has_offset},
        {"origin", API_STRING, &o.origin, &o.has_origin},
        {"page-size", API_U64, &o.page_size, &o.has_page_size},
        {"pid", API_U32, &o.pid, &o.has_pid},
        {"address", API_U64, &o.address, &o.has_address},
    };
    const char *name, *type;
    char what[96];
    size_t nfds = 0;
    int fd = -1;
    if (!w)
        return -ENOMEM;
    w->fd = -1;
    int r = sd_bus_message_read(m, "ss", &name, &type);
    if (r >= 0)
        r = read_fds(m, &fd, &nfds);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        prepare_log(ad, name, type, &o, fd, nfds, w, &e) < 0)
        return api_error(error, &e);
    snprintf(what, sizeof what, "AddDirtyLog %.60s", name);
    r = api_job_start(ad->api, m, ad->domain, what, &log_ops, TAKE_PTR(w), &e);
    return r < 0 ? api_error(error, &e) : r;
}

/* ---- SetController ---- */

struct controller_options {
    const char *bus_name, *path;
    uint64_t timeout_usec;
    bool has_bus_name, has_path, has_timeout;
};

static int make_controller(struct api_domain *ad, const char *type, const struct controller_options *o,
                           struct controller **ret, struct json_object *saved, struct mig_error *err)
{
    int r = json_add_string(saved, "type", type);
    if (r == 0 && strcmp(type, "none") == 0) {
        if (o->has_bus_name || o->has_path || o->has_timeout)
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "controller none has no options");
        return controller_new_none(ret, err);
    }
    if (r == 0 && strcmp(type, "qmp") == 0) {
        if (!o->has_path || o->has_bus_name)
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                 "controller qmp needs option \"path\", and takes no \"bus-name\"");
        if (json_add_string(saved, "path", o->path) < 0 ||
            json_add_u64(saved, "timeout", o->timeout_usec) < 0)
            return mig_error_oom(err);
        return controller_new_qmp(ret, o->path, o->timeout_usec, err);
    }
    if (strcmp(type, "dbus") != 0) {
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.40s\" is not a type of controller", type);
        mig_error_hint(err, "none, dbus or qmp");
        return r;
    }
    if (!o->has_path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "controller dbus needs option \"path\"");
    if (r == 0)
        r = json_add_string(saved, "bus-name", o->bus_name);
    if (r == 0)
        r = json_add_string(saved, "path", o->path);
    if (r == 0)
        r = json_add_u64(saved, "timeout", o->timeout_usec);
    if (r < 0)
        return mig_error_oom(err);
    return controller_new_dbus(ret, ad->api->o.loop, ad->api->bus, o->bus_name, o->path, o->timeout_usec,
                               err);
}

int api_domain_set_controller(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    struct controller_options o = {.timeout_usec = CONTROLLER_DEFAULT_TIMEOUT_USEC};
    const struct api_option options[] = {
        {"bus-name", API_STRING, &o.bus_name, &o.has_bus_name},
        {"path", API_STRING, &o.path, &o.has_path},
        {"timeout", API_U64, &o.timeout_usec, &o.has_timeout},
    };
    _cleanup_(controller_unrefp) struct controller *c = NULL;
    const char *type;
    int r = sd_bus_message_read(m, "s", &type);
    if (r < 0)
        return r;
    _cleanup_(json_object_putp) struct json_object *saved = json_object_new_object();
    if (!saved)
        return -ENOMEM;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0)
        return api_error(error, &e);
    if (!o.has_bus_name)
        o.bus_name = sd_bus_message_get_sender(m);
    if (make_controller(ad, type, &o, &c, saved, &e) < 0 ||
        domain_set_controller(ad->domain, c, saved, &e) < 0)
        return api_error(error, &e);
    return sd_bus_reply_method_return(m, NULL);
}

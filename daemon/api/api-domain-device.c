/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain.AddUserDevice, Map, Unmap: all of them talk to a device, so a helper does. */
#include "api/api-domain.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/fds.h"
#include "domain/client.h"
#include "domain/kernel-devices.h"
#include "domain/saved.h"
#include "vfio-user/device.h"
#include "vfio/container.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- AddUserDevice ---- */

struct device_work {
    struct domain *domain; /* the job holds the reference */
    struct domain_client *client;
    struct domain_device wanted;
    int fd;
    bool inserted;
};

static void free_device_work(void *work)
{
    struct device_work *w = work;
    close_fd(&w->fd);
    device_unref(w->wanted.device);
    if (w->client && !w->inserted)
        domain_client_free(w->client);
    free(w->wanted.socket);
    free(w->wanted.listen);
    free(w);
}

static void free_device_workp(struct device_work **w)
{
    if (*w)
        free_device_work(*w);
}

static int open_device(void *work, struct mig_error *err)
{
    struct device_work *w = work;
    return domain_open_device(w->client, &w->wanted, w->fd, &w->wanted.device, err);
}

static int insert_device(void *work, struct mig_error *err)
{
    struct device_work *w = work;
    int r = domain_insert_device(w->domain, &w->wanted, err);
    if (r < 0)
        return r;
    w->inserted = true;
    domain_watch_devices(w->domain);
    return 0;
}

static const struct api_job_ops device_ops = {
    .run = open_device, .finish = insert_device, .free = free_device_work};

/* variant of s or h */
static int read_socket(sd_bus_message *m, struct device_work *w)
{
    const char *type, *path;
    char kind;
    int fd, r = sd_bus_message_peek_type(m, &kind, &type);
    if (r <= 0 || kind != 'v')
        return r < 0 ? r : -EBADMSG;
    if (strcmp(type, "s") == 0) {
        r = sd_bus_message_read(m, "v", "s", &path);
        if (r >= 0 && !(w->wanted.socket = strdup(path)))
            r = -ENOMEM;
    } else if (strcmp(type, "h") == 0) {
        r = sd_bus_message_read(m, "v", "h", &fd);
        if (r >= 0)
            r = w->fd = fd_dup(fd);
    } else
        r = sd_bus_message_skip(m, "v");
    return r;
}

static int check_socket(const char *name, const struct device_work *w, struct mig_error *err)
{
    struct stat st;
    if (w->wanted.socket ? w->wanted.socket[0] == '/'
                         : w->fd >= 0 && fstat(w->fd, &st) == 0 && S_ISSOCK(st.st_mode))
        return 0;
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                          "device %s: its socket is neither an absolute path nor a connected socket", name);
    mig_error_hint(
        err, "give the path of the vfio-user server's socket as a string, or the socket as a descriptor");
    return r;
}

struct device_options {
    const char *listen, *tracker;
    uint64_t timeout_usec, log_page_bytes;
    bool precopy, map;
};

static int check_device_options(const char *name, const struct device_options *o, struct mig_error *err)
{
    if (strcmp(o->tracker, "device") != 0 && strcmp(o->tracker, "all") != 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: tracker \"%.40s\" is neither \"device\" nor \"all\"", name,
                             o->tracker);
    if (!is_power_of_two(o->log_page_bytes) || o->log_page_bytes < REGION_PAGE_SIZE)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: log-page-size %" PRIu64 " is no power of two from 4096 up", name,
                             o->log_page_bytes);
    if (o->timeout_usec < VFU_MIN_TIMEOUT_USEC || o->timeout_usec > VFU_MAX_TIMEOUT_USEC)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: a timeout of %" PRIu64 " us is not between 1 ms and 1 hour", name,
                             o->timeout_usec);
    if (o->listen && o->listen[0] != '/')
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "device %s: listen \"%.100s\" is not an absolute path", name, o->listen);
    return 0;
}

static int prepare_device(struct api_domain *ad, const char *name, const struct device_options *o,
                          struct device_work *w, struct mig_error *err)
{
    int r = domain_part_name_check("device", name, err);
    if (r == 0)
        r = check_socket(name, w, err);
    if (r == 0)
        r = check_device_options(name, o, err);
    if (r == 0 && domain_find_device(ad->domain, name))
        r = mig_error_set(err, MIG_ERR_EXISTS, 0, "domain %s already has a device named %s", ad->domain->name,
                          name);
    if (r == 0)
        r = domain_check_idle(ad->domain, err);
    if (r < 0)
        return r;
    w->domain = ad->domain;
    w->wanted.listen = o->listen ? strdup(o->listen) : NULL;
    if (o->listen && !w->wanted.listen)
        return mig_error_oom(err);
    w->wanted.timeout_usec = o->timeout_usec;
    w->wanted.log_page_bytes = o->log_page_bytes;
    w->wanted.use_precopy = o->precopy;
    w->wanted.automap = o->map;
    w->wanted.tracker_all = strcmp(o->tracker, "all") == 0;
    return domain_client_new(&w->client, ad->domain, name, err);
}

int api_domain_add_user_device(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_(free_device_workp) struct device_work *w = calloc(1, sizeof *w);
    struct device_options o = {.tracker = "device",
                               .timeout_usec = VFU_DEFAULT_TIMEOUT_USEC,
                               .log_page_bytes = REGION_PAGE_SIZE,
                               .precopy = true,
                               .map = true};
    const struct api_option options[] = {
        {"listen", API_STRING, &o.listen},   {"timeout", API_U64, &o.timeout_usec},
        {"tracker", API_STRING, &o.tracker}, {"log-page-size", API_U64, &o.log_page_bytes},
        {"precopy", API_BOOL, &o.precopy},   {"map", API_BOOL, &o.map},
    };
    const char *name;
    char what[96];
    if (!w)
        return -ENOMEM;
    w->fd = -1;
    int r = sd_bus_message_read(m, "s", &name);
    if (r >= 0)
        r = read_socket(m, w);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0 ||
        prepare_device(ad, name, &o, w, &e) < 0)
        return api_error(error, &e);
    snprintf(what, sizeof what, "AddUserDevice %s", name);
    r = api_job_start(ad->api, m, ad->domain, what, &device_ops, TAKE_PTR(w), &e);
    return r < 0 ? api_error(error, &e) : r;
}

/* ---- Map, Unmap: possible while a migration runs ---- */

struct map_work {
    struct domain *domain;       /* referenced, since no job of the domain is open */
    struct device *device;       /* or */
    struct container *container; /* a container */
    bool unmap, gone;
    struct iova_mapping mapping;
};

static void free_map_work(void *work)
{
    struct map_work *w = work;
    region_unref(w->mapping.region);
    device_unref(w->device);
    container_unref(w->container);
    domain_unref(w->domain);
    free(w);
}

static int run_map(void *work, struct mig_error *err)
{
    struct map_work *w = work;
    if (w->container)
        return w->unmap
                   ? container_unmap(w->container, w->mapping.iova, w->mapping.size_bytes, w->gone, NULL, err)
                   : container_map(w->container, &w->mapping, err);
    if (w->unmap)
        return w->device->ops->dma_unmap(w->device, w->mapping.iova, w->mapping.size_bytes, err);
    return w->device->ops->dma_map(w->device, &w->mapping, err);
}

static int finish_map(void *work, struct mig_error *err)
{
    struct map_work *w = work;
    if (w->domain->saved)
        domain_save(w->domain);
    return 0;
}

static const struct api_job_ops map_ops = {.run = run_map, .finish = finish_map, .free = free_map_work};

static int start_map(struct api_domain *ad, sd_bus_message *m, const char *device_name,
                     const struct iova_mapping *mapping, bool unmap, bool gone, struct mig_error *err)
{
    struct domain_device *dd = domain_find_device(ad->domain, device_name);
    struct container *container = dd ? NULL : domain_find_container(ad->domain, device_name);
    if (!dd && !container)
        return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0,
                             "domain %s has no device or container named %.80s", ad->domain->name,
                             device_name);
    if (dd && gone)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "\"gone\" is for containers, and %.80s is a device", device_name);
    struct map_work *w = calloc(1, sizeof *w);
    if (!w)
        return mig_error_oom(err);
    *w = (struct map_work){.domain = domain_ref(ad->domain),
                           .device = dd ? device_ref(dd->device) : NULL,
                           .container = container_ref(container),
                           .unmap = unmap,
                           .gone = gone,
                           .mapping = *mapping};
    if (w->mapping.region)
        region_ref(w->mapping.region);
    return api_job_start(ad->api, m, NULL, unmap ? "Unmap" : "Map", &map_ops, w, err);
}

static int check_range(const struct iova_mapping *p, struct mig_error *err)
{
    if (p->size_bytes && !((p->iova | p->size_bytes | p->offset_bytes) % REGION_PAGE_SIZE) &&
        range_inside(p->offset_bytes, p->size_bytes, p->region->size_bytes) &&
        p->iova + (p->size_bytes - 1) >= p->iova)
        return 0;
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                         "offset 0x%" PRIx64 ", IOVA 0x%" PRIx64 " and size 0x%" PRIx64
                         " must be multiples of 4096 and lie inside memory %s of 0x%" PRIx64 " bytes",
                         p->offset_bytes, p->iova, p->size_bytes, p->region->name, p->region->size_bytes);
}

static int method_map(struct api_domain *ad, sd_bus_message *m, struct mig_error *err)
{
    const char *device, *memory_name;
    struct iova_mapping p = {0};
    bool may_read = true, may_write = true;
    const struct api_option options[] = {{"read", API_BOOL, &may_read}, {"write", API_BOOL, &may_write}};
    int r = sd_bus_message_read(m, "ssttt", &device, &memory_name, &p.offset_bytes, &p.iova, &p.size_bytes);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, -r, "the call cannot be read: %s", strerror(-r));
    r = api_options_read(m, options, ELEMENTS(options), err);
    if (r < 0)
        return r;
    struct domain_memory *memory = domain_find_memory(ad->domain, memory_name);
    if (!memory)
        return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, 0, "domain %s has no memory named %.80s",
                             ad->domain->name, memory_name);
    p.region = memory->region;
    p.prot = (may_read ? IOVA_READ : 0) | (may_write ? IOVA_WRITE : 0);
    if (may_write && !memory->region->writable)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "memory %s is read-only: map it with write=false", memory_name);
    r = check_range(&p, err);
    return r < 0 ? r : start_map(ad, m, device, &p, false, false, err);
}

int api_domain_map(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    int r = api_domain_open(ad, &e);
    if (r == 0)
        r = method_map(ad, m, &e);
    return r < 0 ? api_error(error, &e) : r;
}

int api_domain_unmap(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    struct iova_mapping p = {0};
    const char *device;
    bool gone = false;
    const struct api_option options[] = {{"gone", API_BOOL, &gone}};
    int r = sd_bus_message_read(m, "stt", &device, &p.iova, &p.size_bytes);
    if (r < 0)
        return r;
    if (api_domain_open(ad, &e) < 0 || api_options_read(m, options, ELEMENTS(options), &e) < 0)
        return api_error(error, &e);
    r = start_map(ad, m, device, &p, true, gone, &e);
    return r < 0 ? api_error(error, &e) : r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The callbacks here run on threads of the device. They may look at and add to the memory table under its
 * lock, and post to the main thread; they never wait for the main thread, which may be waiting for them to
 * end.
 */
#include "domain/client.h"
#include "base/log.h"
#include "domain/structure.h"
#include "loop/loop.h"
#include "vfio-user/device.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

int domain_client_new(struct domain_client **ret, struct domain *d, const char *device, struct mig_error *err)
{
    struct domain_client *c = calloc(1, sizeof *c);
    if (!c)
        return mig_error_oom(err);
    c->domain = d;
    snprintf(c->device, sizeof c->device, "%s", device);
    c->next = d->clients;
    d->clients = c;
    *ret = c;
    return 0;
}

void domain_client_free(struct domain_client *c)
{
    for (struct domain_client **at = &c->domain->clients; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            free(c);
            return;
        }
}

int domain_check_memory_fd(int fd, const char *name, struct mig_error *err)
{
    struct stat st;
    struct statfs fs;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && fstatfs(fd, &fs) == 0 && fs.f_type != FUSE_SUPER_MAGIC)
        return 0;
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                          "the descriptor for memory %s is not a file that can be guest memory", name);
    mig_error_hint(err, "give a memfd, or a file on tmpfs or hugetlbfs");
    return r;
}

static bool same_file(const struct domain_memory *m, const struct stat *st)
{
    return m->file_dev == st->st_dev && m->file_ino == st->st_ino;
}

/* With the lock held: registered memory that the range lies in, with a reference. */
static struct region *find_region(struct domain *d, const struct stat *st, uint64_t offset,
                                  uint64_t size_bytes)
{
    for (size_t i = 0; i < d->nmemory; i++) {
        struct region *region = d->memory[i].region;
        if (same_file(&d->memory[i], st) && offset >= region->offset_bytes &&
            range_inside(offset - region->offset_bytes, size_bytes, region->size_bytes))
            return region_ref(region);
    }
    return NULL;
}

static bool file_is_known(struct domain *d, const struct stat *st)
{
    for (size_t i = 0; i < d->nmemory; i++)
        if (same_file(&d->memory[i], st))
            return true;
    return false;
}

static int refuse_if_closed(struct domain_client *c, struct mig_error *err)
{
    struct domain *d = c->domain;
    if (d->borrowed) {
        int r = mig_error_set(
            err, MIG_ERR_BUSY, 0,
            "the client of device %s maps memory that domain %s does not know, and a migration runs",
            c->device, d->name);
        mig_error_hint(err, "register the memory before the migration");
        return r;
    }
    if (d->nmemory >= DOMAIN_REGIONS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0,
                             "the client of device %s brought more than %u pieces of memory", c->device,
                             DOMAIN_REGIONS_MAX);
    return 0;
}

static void free_name(struct domain_client *c, char name[static REGION_NAME_MAX + 1])
{
    unsigned n = 0;
    do
        snprintf(name, REGION_NAME_MAX + 1, "%.50s-mem%u", c->device, n);
    while (domain_find_memory(c->domain, name) && ++n);
}

/* Memory that nobody registered. The file may be slow to look at, so that happens without the lock, and what
 * was true before is asked again after. */
static int register_region(struct domain_client *c, int fd, const struct stat *st, uint64_t offset,
                           uint64_t size_bytes, struct region **ret, struct mig_error *err)
{
    struct domain *d = c->domain;
    char name[REGION_NAME_MAX + 1];
    int r = domain_check_memory_fd(fd, c->device, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&d->lock);
    r = refuse_if_closed(c, err);
    bool whole =
        !file_is_known(d, st); /* so that a client which maps its file piece by piece gets one region */
    free_name(c, name);
    pthread_mutex_unlock(&d->lock);
    if (r < 0)
        return r;
    if (whole) {
        offset = 0;
        size_bytes = align_down((uint64_t)st->st_size, REGION_PAGE_SIZE);
    }
    _cleanup_(region_unrefp) struct region *region = NULL;
    r = region_new_from_fd(&region, name, fd, offset, size_bytes, true, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&d->lock);
    r = refuse_if_closed(c, err);
    if (r == 0 && domain_find_memory(d, name))
        r = mig_error_set(err, MIG_ERR_BUSY, EAGAIN, "two clients of domain %s bring memory at once",
                          d->name);
    if (r == 0)
        domain_append_memory_locked(d, region, NULL, 0, true);
    pthread_mutex_unlock(&d->lock);
    if (r < 0)
        return r;
    log_info("domain %s: the client of device %s brought memory %s of %" PRIu64 " bytes", d->name, c->device,
             name, region->size_bytes);
    *ret = TAKE_PTR(region);
    return 0;
}

static int on_dma_fd(void *userdata, int fd, uint64_t offset, uint64_t size_bytes, struct region **ret_region,
                     uint64_t *ret_offset_bytes, struct mig_error *err)
{
    struct domain_client *c = userdata;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "the client of device %s maps a descriptor that is no memory file", c->device);
    if (size_bytes == 0 || offset + size_bytes < offset)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "the client of device %s maps an empty or wrapping range", c->device);
    pthread_mutex_lock(&c->domain->lock);
    _cleanup_(region_unrefp) struct region *region = find_region(c->domain, &st, offset, size_bytes);
    pthread_mutex_unlock(&c->domain->lock);
    int r = region ? 0 : register_region(c, fd, &st, offset, size_bytes, &region, err);
    if (r < 0)
        return r;
    if (offset < region->offset_bytes ||
        !range_inside(offset - region->offset_bytes, size_bytes, region->size_bytes))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "the client of device %s maps beyond the end of its file", c->device);
    *ret_offset_bytes = offset - region->offset_bytes;
    *ret_region = TAKE_PTR(region);
    return 0;
}

/* Main thread. */
static void take_news(void *userdata)
{
    struct domain *d = userdata;
    if (!d->borrowed && !d->job[0]) {
        domain_drop_unused_memory(d);
        domain_renew_all_trackers(d, NULL);
    }
    if (d->changed)
        d->changed(d, d->changed_userdata);
    domain_unref(d);
}

static void on_mappings_changed(void *userdata)
{
    struct domain *d = ((struct domain_client *)userdata)->domain;
    pthread_mutex_lock(
        &d->lock); /* against domain_stop_watching: while there is a loop, somebody has a reference */
    if (d->loop) {
        domain_ref(d);
        if (loop_post(d->loop, take_news, d) < 0)
            __atomic_sub_fetch(&d->refs, 1, __ATOMIC_RELAXED); /* not the last */
    }
    pthread_mutex_unlock(&d->lock);
}

static void on_client_changed(void *userdata, bool connected)
{
    struct domain_client *c = userdata;
    log_info("domain %s: a client %s device %s", c->domain->name, connected ? "uses" : "left", c->device);
    on_mappings_changed(userdata);
}

static const struct vfu_passthrough_callbacks callbacks = {
    .dma_fd = on_dma_fd,
    .mappings_changed = on_mappings_changed,
    .client_changed = on_client_changed,
};

/* Without a log of its own a device must be tracked by saying everything; the operator decides that, except
 * where nothing is tracked yet. */
static int check_log(const struct domain *d, struct domain_device *dd, struct mig_error *err)
{
    const struct device_info *info = dd->device->ops->info(dd->device);
    if (dd->tracker_all || info->dirty_log || d->incoming)
        return 0;
    int r =
        mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "device %s cannot log its DMA writes", dd->device->name);
    mig_error_hint(err, "register it with tracker \"all\": then every round sends all memory, which suits "
                        "small or idle workloads");
    return r;
}

int domain_open_device(struct domain_client *client, const struct domain_device *wanted, int fd,
                       struct device **ret_device, struct mig_error *err)
{
    const struct vfu_device_options options = {
        .path = wanted->socket,
        .fd = fd,
        .timeout_usec = wanted->timeout_usec,
        .listen_path = wanted->listen,
        .passthrough = &callbacks,
        .userdata = client,
    };
    _cleanup_(device_unrefp) struct device *device = NULL;
    int r = vfu_device_new(&device, client->device, &options, err);
    if (r < 0)
        return r;
    struct domain_device dd = *wanted;
    dd.device = device;
    r = check_log(client->domain, &dd, err);
    if (r == 0)
        r = domain_map_device(client->domain, &dd, err);
    if (r == 0)
        *ret_device = TAKE_PTR(device);
    return r;
}

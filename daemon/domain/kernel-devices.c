/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/kernel-devices.h"
#include "base/finding.h"
#include "domain/structure.h"
#include "loop/loop.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <string.h>
#include <sys/stat.h>

/* ---- devices ---- */

/* Its own log, or else the containers, when nothing that it may write is outside of what they track. */
static int settle_tracking(struct domain *d, const struct device_info *info, const char *name,
                           struct domain_device *wanted, struct mig_error *err)
{
    if (!wanted->tracker_auto)
        return 0;
    wanted->tracker_auto = false;
    wanted->tracker_container = !info->dirty_log && d->ncontainers > 0;
    for (size_t i = 0; wanted->tracker_container && i < d->ncontainers; i++) {
        if (!d->containers[i].container->partial)
            continue;
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                              "device %s cannot log its DMA writes, and container %s has HWPTs without dirty "
                              "tracking, to one of which it may be attached",
                              name, d->containers[i].container->name);
        mig_error_hint(err,
                       "let its owner attach every device to an HWPT with DIRTY_TRACKING; or say what is "
                       "true of this one: tracker \"container\", or \"all\"");
        return r;
    }
    return 0;
}

bool domain_containers_miss(const struct domain *d, struct device *device)
{
    struct stat st;
    if (!kvfio_device_is(device) || !kvfio_device_is_mediated(device))
        return false;
    /* A cdev is on an iommufd, whatever containers there are besides. */
    bool iommufd = fstat(kvfio_device_fd(device), &st) == 0 && S_ISCHR(st.st_mode), heard = false;
    for (size_t i = 0; i < d->ncontainers; i++)
        heard |= strcmp(d->containers[i].container->ops->kind, "iommufd") != 0;
    return iommufd || (d->ncontainers && !heard);
}

static int check_tracking(struct domain *d, struct device *device, const struct domain_device *wanted,
                          struct mig_error *err)
{
    const struct device_info *info = device->ops->info(device);
    const char *name = device->name;
    if (wanted->tracker_container && d->ncontainers == 0) {
        int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                              "device %s: its container is to say what it writes, but domain %s has none",
                              name, d->name);
        mig_error_hint(err, "add the container first");
        return r;
    }
    if (wanted->tracker_container && domain_containers_miss(d, device)) {
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                              "device %s is a mediated device on an iommufd: its driver writes memory behind "
                              "the IOMMU, whose dirty bits do not show it",
                              name);
        mig_error_hint(err, "%s (migctl explain %s)",
                       info->dirty_log
                           ? "give tracker \"device\": it has a log of its own"
                           : "let its owner use a type1 container, or give tracker \"all\": then all "
                             "memory is sent again in the blackout",
                       finding_code_to_string(FINDING_DEVICE_MDEV_UNTRACKED));
        return r;
    }
    if (wanted->tracker_all || wanted->tracker_container || info->dirty_log || d->incoming)
        return 0;
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "device %s cannot log its DMA writes", name);
    mig_error_hint(err, "add its container and give tracker \"container\", or give tracker \"all\": then all "
                        "memory is sent again in "
                        "the blackout");
    return r;
}

int domain_settle_tracking(struct domain *d, struct device *device, struct domain_device *wanted,
                           struct mig_error *err)
{
    int r = settle_tracking(d, device->ops->info(device), device->name, wanted, err);
    return r < 0 ? r : check_tracking(d, device, wanted, err);
}

int domain_open_kernel_device(struct domain *d, const char *name, struct domain_device *wanted, int fd,
                              int pidfd, struct mig_error *err)
{
    const struct kvfio_device_options options = {
        .fd = fd, .gone_fd = pidfd, .timeout_usec = wanted->timeout_usec};
    _cleanup_(device_unrefp) struct device *device = NULL;
    int r = kvfio_device_new(&device, name, &options, err);
    if (r == 0)
        r = domain_settle_tracking(d, device, wanted, err);
    if (r < 0)
        return r;
    struct domain_device dd = *wanted;
    dd.device = device;
    r = domain_map_device(d, &dd, err);
    if (r == 0)
        wanted->device = TAKE_PTR(device);
    return r;
}

/* ---- containers ---- */

struct container *domain_find_container(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->ncontainers; i++)
        if (strcmp(d->containers[i].container->name, name) == 0)
            return d->containers[i].container;
    return NULL;
}

/* What its owner mapped stays. */
static void unmap_again(struct container *c, uint64_t iova, uint64_t size_bytes)
{
    if (c->maps)
        container_unmap(c, iova, size_bytes, false, NULL, NULL);
    else
        iova_map_remove(c->map, iova, size_bytes, NULL);
}

/* All of them or none. */
static int map_at(struct container *c, struct region *region, const uint64_t *iovas, size_t niovas,
                  struct mig_error *err)
{
    for (size_t i = 0; i < niovas; i++) {
        const struct iova_mapping m = {.iova = iovas[i],
                                       .size_bytes = region->size_bytes,
                                       .region = region,
                                       .prot = IOVA_READ | (region->writable ? IOVA_WRITE : 0)};
        int r = container_map(c, &m, err);
        if (r < 0) {
            while (i-- > 0)
                unmap_again(c, iovas[i], region->size_bytes);
            return r;
        }
    }
    return 0;
}

int domain_map_memory_into_containers(struct domain *d, struct region *region, const uint64_t *iovas,
                                      size_t niovas, struct mig_error *err)
{
    for (size_t i = 0; i < d->ncontainers; i++) {
        int r = d->containers[i].automap ? map_at(d->containers[i].container, region, iovas, niovas, err) : 0;
        if (r < 0) {
            while (i-- > 0)
                for (size_t j = 0; d->containers[i].automap && j < niovas; j++)
                    unmap_again(d->containers[i].container, iovas[j], region->size_bytes);
            return r;
        }
    }
    return 0;
}

bool domain_containers_map(const struct domain *d, const struct region *region)
{
    for (size_t i = 0; i < d->ncontainers; i++) {
        struct iova_mapping *mappings;
        size_t n;
        bool found = false;
        if (iova_map_snapshot(d->containers[i].container->map, &mappings, &n) < 0)
            return true; /* not known: keep it */
        for (size_t j = 0; j < n; j++)
            found |= mappings[j].region == region;
        iova_mappings_free(mappings, n);
        if (found)
            return true;
    }
    return false;
}

int domain_map_container(struct domain *d, const struct domain_container *c, struct mig_error *err)
{
    struct domain_memory *memory;
    size_t n;
    if (!c->automap)
        return 0;
    int r = domain_snapshot_memory(d, &memory, &n);
    if (r < 0)
        return mig_error_oom(err);
    for (size_t i = 0; i < n; i++) {
        if (r == 0)
            r = map_at(c->container, memory[i].region, memory[i].iova, memory[i].niovas, err);
        region_unref(memory[i].region);
    }
    free(memory);
    return r;
}

int domain_insert_container(struct domain *d, const struct domain_container *c, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    return r < 0 ? r : structure_insert_container(d, c, err);
}

int structure_insert_container(struct domain *d, const struct domain_container *c, struct mig_error *err)
{
    const char *name = c->container->name;
    int r = domain_part_name_check("container", name, err);
    if (r < 0)
        return r;
    if (domain_find_container(d, name) || domain_find_device(d, name) || domain_find_tracker(d, name))
        return mig_error_set(err, MIG_ERR_EXISTS, 0,
                             "domain %s already has a container, device or tracker named %s", d->name, name);
    if (d->ncontainers >= DOMAIN_CONTAINERS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "domain %s has %u containers already, which is the limit",
                             d->name, DOMAIN_CONTAINERS_MAX);
    struct domain_container *containers = reallocarray(d->containers, d->ncontainers + 1, sizeof *containers);
    if (!containers)
        return mig_error_oom(err);
    d->containers = containers;
    /* Before the tracker, whose arrival is told. */
    d->containers[d->ncontainers] = *c;
    d->containers[d->ncontainers].gone_watch = NULL;
    container_ref(c->container);
    d->ncontainers++;
    r = container_tells(c->container) ? domain_add_container_tracker(d, c->container, err) : 0;
    if (r < 0)
        domain_drop_container(&d->containers[--d->ncontainers]);
    return r;
}

int domain_add_container_tracker(struct domain *d, struct container *c, struct mig_error *err)
{
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    int r = tracker_new_container(&t, c, err);
    if (r == 0)
        r = structure_add_tracker(d, t, NULL, err);
    if (r == 0)
        t = NULL;
    return r;
}

void domain_drop_container(struct domain_container *c)
{
    loop_io_free(c->gone_watch);
    container_unref(c->container);
}

void domain_clear_containers(struct domain *d)
{
    for (size_t i = 0; i < d->ncontainers; i++)
        domain_drop_container(&d->containers[i]);
    free(d->containers);
    d->containers = NULL;
    d->ncontainers = 0;
}

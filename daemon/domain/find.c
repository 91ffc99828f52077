/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the parts of a domain, and what is a name of one. */
#include "domain/kernel-devices.h"
#include "domain/opened.h"
#include "domain/structure.h"
#include "vfio/container.h"
#include <string.h>

struct domain_memory *domain_find_memory(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->nmemory; i++)
        if (strcmp(d->memory[i].region->name, name) == 0)
            return &d->memory[i];
    return NULL;
}

struct domain_device *domain_find_device(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->ndevices; i++)
        if (strcmp(d->devices[i].device->name, name) == 0)
            return &d->devices[i];
    return NULL;
}

struct domain_device *domain_find_without_p2p(struct domain *d)
{
    for (size_t i = 0; i < d->ndevices; i++)
        if (!(device_migration_flags(d->devices[i].device) & DEVICE_MIGRATION_P2P))
            return &d->devices[i];
    return NULL;
}

bool domain_device_precopies(const struct domain_device *d)
{
    return d->use_precopy && (device_migration_flags(d->device) & DEVICE_MIGRATION_PRE_COPY);
}

struct tracker *domain_find_tracker(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->ntrackers; i++)
        if (strcmp(d->trackers[i]->name, name) == 0)
            return d->trackers[i];
    return NULL;
}

struct container *domain_find_container(struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->ncontainers; i++)
        if (strcmp(d->containers[i].container->name, name) == 0)
            return d->containers[i].container;
    return NULL;
}

struct domain_opened *domain_find_opened(const struct domain *d, const char *name)
{
    for (size_t i = 0; i < d->nopened; i++)
        if (strcmp(d->opened[i].device->name, name) == 0)
            return &d->opened[i];
    return NULL;
}

struct open_space *domain_find_open_space(const struct domain *d, const char *container)
{
    for (size_t i = 0; i < d->nopened; i++)
        if (strcmp(d->opened[i].device->space->name, container) == 0)
            return d->opened[i].device->space;
    return NULL;
}

/* The memory that devices see, as it is now, with references. */
int domain_snapshot_memory(struct domain *d, struct domain_memory **ret, size_t *ret_count)
{
    pthread_mutex_lock(&d->lock);
    size_t n = d->nmemory;
    struct domain_memory *copy = malloc(MAX(n, (size_t)1) * sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = d->memory[i];
        region_ref(copy[i].region);
    }
    pthread_mutex_unlock(&d->lock);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    *ret_count = n;
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The containers of a domain: what is mapped into them, and their trackers. */
#include "domain/kernel-devices.h"
#include "domain/structure.h"
#include "loop/loop.h"
#include "vfio/container.h"

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
    for (size_t i = 0; i < d->ncontainers; i++)
        if (iova_map_has(d->containers[i].container->map, region))
            return true;
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of a domain and where its devices see it. The table is shared with threads of devices (see
 * domain.h), hence the lock; mapping into devices blocks and is done without it.
 */
#include "domain/structure.h"
#include "domain/kernel-devices.h"
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static int check_iovas(struct domain *d, const struct region *region, const uint64_t *iovas, size_t niovas,
                       struct mig_error *err)
{
    if (niovas > DOMAIN_IOVAS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "memory %s has %zu IOVAs, the limit is %u", region->name,
                             niovas, DOMAIN_IOVAS_MAX);
    for (size_t i = 0; i < niovas; i++) {
        uint64_t end;
        if (iovas[i] % REGION_PAGE_SIZE || __builtin_add_overflow(iovas[i], region->size_bytes - 1, &end))
            return mig_error_set(
                err, MIG_ERR_INVALID_ARGUMENT, 0,
                "IOVA 0x%" PRIx64
                " of memory %s: not a multiple of %u, or beyond the end of the address space",
                iovas[i], region->name, REGION_PAGE_SIZE);
        for (size_t j = 0; j < i; j++)
            if (iovas[j] <= end && iovas[i] <= iovas[j] + (region->size_bytes - 1))
                return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                     "IOVAs 0x%" PRIx64 " and 0x%" PRIx64 " of memory %s overlap", iovas[j],
                                     iovas[i], region->name);
        for (size_t m = 0; m < d->nmemory; m++)
            for (size_t j = 0; j < d->memory[m].niovas; j++) {
                uint64_t other = d->memory[m].iova[j];
                if (other <= end && iovas[i] <= other + (d->memory[m].region->size_bytes - 1))
                    return mig_error_set(err, MIG_ERR_EXISTS, 0,
                                         "memory %s at IOVA 0x%" PRIx64 " overlaps memory %s at 0x%" PRIx64,
                                         region->name, iovas[i], d->memory[m].region->name, other);
            }
    }
    return 0;
}

static uint32_t prot_of(const struct region *region)
{
    return IOVA_READ | (region->writable ? IOVA_WRITE : 0);
}

static int map_at(struct device *device, struct region *region, uint64_t iova, struct mig_error *err)
{
    const struct iova_mapping m = {
        .iova = iova, .size_bytes = region->size_bytes, .region = region, .prot = prot_of(region)};
    int r = device->ops->dma_map(device, &m, err);
    return r < 0 ? mig_error_wrap(err, "mapping memory %s into device %s", region->name, device->name) : 0;
}

/* With the lock held. */
static int check_new_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                            struct mig_error *err)
{
    int r = domain_part_name_check("memory", region->name, err);
    if (r < 0)
        return r;
    if (domain_find_memory(d, region->name))
        return structure_refuse_twice(d, "memory", region->name, err);
    if (d->nmemory >= DOMAIN_REGIONS_MAX)
        return structure_refuse_more(d, "pieces of memory", DOMAIN_REGIONS_MAX, err);
    return check_iovas(d, region, iovas, niovas, err);
}

int domain_map_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                      struct mig_error *err)
{
    pthread_mutex_lock(&d->lock);
    int r = check_new_memory(d, region, iovas, niovas, err);
    pthread_mutex_unlock(&d->lock);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < d->ndevices; i++) {
        struct device *device = d->devices[i].device;
        for (size_t j = 0; r == 0 && d->devices[i].automap && j < niovas; j++)
            r = map_at(device, region, iovas[j], err);
    }
    if (r == 0)
        r = domain_map_memory_into_containers(d, region, iovas, niovas, err);
    for (size_t i = 0; r < 0 && i < d->ndevices; i++)
        for (size_t j = 0; d->devices[i].automap && j < niovas; j++)
            d->devices[i].device->ops->dma_unmap(d->devices[i].device, iovas[j], region->size_bytes, NULL);
    return r;
}

void domain_append_memory_locked(struct domain *d, struct region *region, const uint64_t *iovas,
                                 size_t niovas, bool from_client)
{
    struct domain_memory *m = &d->memory[d->nmemory];
    *m = (struct domain_memory){.region = region_ref(region), .niovas = niovas, .from_client = from_client};
    for (size_t i = 0; i < niovas; i++)
        m->iova[i] = iovas[i];
    struct stat st;
    if (fstat(region->fd, &st) == 0) {
        m->file_dev = st.st_dev;
        m->file_ino = st.st_ino;
    }
    region->index = (uint32_t)d->nmemory;
    d->nmemory++;
}

int domain_insert_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                         struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    return r < 0 ? r : structure_insert_memory(d, region, iovas, niovas, err);
}

int structure_insert_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                            struct mig_error *err)
{
    pthread_mutex_lock(&d->lock);
    int r = check_new_memory(d, region, iovas, niovas, err);
    if (r == 0)
        domain_append_memory_locked(d, region, iovas, niovas, false);
    pthread_mutex_unlock(&d->lock);
    if (r == 0)
        r = domain_renew_all_trackers(d, err);
    if (r == 0)
        domain_tell(d);
    return r;
}

int domain_add_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                      struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r == 0)
        r = domain_map_memory(d, region, iovas, niovas, err);
    return r < 0 ? r : domain_insert_memory(d, region, iovas, niovas, err);
}

static bool is_mapped(const struct domain *d, const struct region *region)
{
    if (domain_containers_map(d, region))
        return true;
    for (size_t i = 0; i < d->ndevices; i++)
        if (iova_map_has(d->devices[i].device->map, region))
            return true;
    return false;
}

void domain_drop_unused_memory(struct domain *d)
{
    bool dropped = false;
    unsigned held =
        1; /* references that do not count: ours, and one of each tracker that covers everything */
    for (size_t i = 0; i < d->ntrackers; i++)
        held += *structure_all_tracker_of(d, i) != 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = d->nmemory; i-- > 0;) {
        struct region *region = d->memory[i].region;
        /* More references: a client's thread was just given it and is about to map it. */
        if (!d->memory[i].from_client || __atomic_load_n(&region->refs, __ATOMIC_ACQUIRE) > held ||
            is_mapped(d, region))
            continue;
        memmove(&d->memory[i], &d->memory[i + 1], (d->nmemory - i - 1) * sizeof d->memory[0]);
        d->nmemory--;
        region_unref(region);
        dropped = true;
    }
    for (size_t i = 0; i < d->nmemory; i++)
        d->memory[i].region->index = (uint32_t)i;
    pthread_mutex_unlock(&d->lock);
    if (dropped)
        domain_renew_all_trackers(d, NULL);
}

int domain_map_device(struct domain *d, const struct domain_device *device, struct mig_error *err)
{
    struct domain_memory *memory;
    size_t n;
    if (!device->automap)
        return 0;
    int r = domain_snapshot_memory(d, &memory, &n);
    if (r < 0)
        return mig_error_oom(err);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; r == 0 && j < memory[i].niovas; j++)
            r = map_at(device->device, memory[i].region, memory[i].iova[j], err);
        region_unref(memory[i].region);
    }
    free(memory);
    return r;
}

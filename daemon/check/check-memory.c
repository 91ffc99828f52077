/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory: is it there, can it be opened again, can it go away under migd, who sees it. */
#include "base/format.h"
#include "check/check-private.h"
#include "vfio/container.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef F_SEAL_SHRINK
#define F_GET_SEALS   1034
#define F_SEAL_SHRINK 0x0002
#endif

static bool is_seen(const struct domain *d, const struct region *region)
{
    for (size_t i = 0; i < d->ndevices; i++)
        if (iova_map_has(d->devices[i].device->map, region))
            return true;
    for (size_t i = 0; i < d->ncontainers; i++)
        if (iova_map_has(d->containers[i].container->map, region))
            return true;
    return d->ndevices + d->ncontainers == 0; /* nobody is there who could */
}

void check_memory_facts(struct check *c)
{
    if (c->nmemory == 0)
        TELL(c, FINDING_MEMORY_NONE, c->domain->name, NULL, "Domain %s has no memory", c->domain->name);
    for (size_t i = 0; i < c->nmemory; i++) {
        const struct region *r = c->memory[i].region;
        if (!r->writable)
            TELL(c, FINDING_MEMORY_READ_ONLY, r->name, NULL,
                 "Memory %s is read-only: it is sent once, and what is written there later is not", r->name);
        if (!is_seen(c->domain, r))
            TELL(c, FINDING_MEMORY_UNMAPPED, r->name, NULL, "No device sees memory %s, as far as migd knows",
                 r->name);
    }
}

static void check_size(struct check *c, const struct region *r, const struct stat *st)
{
    if (!range_inside(r->offset_bytes, r->size_bytes, (uint64_t)st->st_size)) {
        TELL(c, FINDING_MEMORY_TRUNCATED, r->name, NULL,
             "The file of memory %s has %s now, and the memory ends at %s", r->name,
             FORMAT_BYTES((uint64_t)st->st_size), FORMAT_BYTES(r->offset_bytes + r->size_bytes));
        return;
    }
    int seals = fcntl(r->fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        TELL(c, FINDING_MEMORY_CAN_SHRINK, r->name, NULL,
             "The file of memory %s is not sealed: whoever makes it shorter ends migd", r->name);
}

void check_memory_asks(struct check *c)
{
    for (size_t i = 0; i < c->nmemory; i++) {
        const struct region *r = c->memory[i].region;
        struct stat st;
        struct statfs fs;
        if (fstat(r->fd, &st) < 0 || fstatfs(r->fd, &fs) < 0)
            continue; /* an open file of tmpfs, hugetlbfs or a disk answers */
        check_size(c, r, &st);
        if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC && fs.f_type != RAMFS_MAGIC)
            TELL(c, FINDING_MEMORY_ON_DISK, r->name, NULL,
                 "Memory %s is a file on a disk: reading it may wait for the disk", r->name);
    }
}

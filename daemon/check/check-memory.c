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

static bool is_seen(struct check *c, const struct region *region)
{
    const struct domain *d = c->domain;
    for (size_t i = 0; i < d->ndevices; i++)
        if (check_is_mapped(c, d->devices[i].device->map, region))
            return true;
    for (size_t i = 0; i < d->ncontainers; i++)
        if (check_is_mapped(c, d->containers[i].container->map, region))
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
        if (!is_seen(c, r))
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

static void check_reopening(struct check *c, const struct domain_memory *m, const struct stat *st)
{
    const struct region *r = m->region;
    struct stat now;
    /* What migd made is kept open; what a pass-through client brought comes again with the client. */
    if (!c->domain->saved || r->made || m->from_client)
        return;
    if (!r->origin)
        TELL(c, FINDING_MEMORY_NOT_REOPENABLE, r->name, NULL,
             "Memory %s came as a descriptor without a path: a restart of migd cannot open it again",
             r->name);
    else if (stat(r->origin, &now) < 0)
        TELL(c, FINDING_MEMORY_NOT_REOPENABLE, r->name, NULL,
             "Memory %s cannot be opened again by its path %.200s: %s", r->name, r->origin, strerror(errno));
    else if (now.st_dev != st->st_dev || now.st_ino != st->st_ino)
        TELL(c, FINDING_MEMORY_NOT_REOPENABLE, r->name, NULL,
             "The path %.200s leads to another file by now than memory %s", r->origin, r->name);
}

void check_memory_asks(struct check *c)
{
    for (size_t i = 0; i < c->nmemory; i++) {
        const struct domain_memory *m = &c->memory[i];
        struct stat st;
        struct statfs fs;
        if (fstat(m->region->fd, &st) < 0 || fstatfs(m->region->fd, &fs) < 0)
            continue; /* an open file of tmpfs, hugetlbfs or a disk answers */
        check_size(c, m->region, &st);
        check_reopening(c, m, &st);
        if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC && fs.f_type != RAMFS_MAGIC)
            TELL(c, FINDING_MEMORY_ON_DISK, m->region->name, NULL,
                 "Memory %s is a file on a disk: reading it may wait for the disk", m->region->name);
    }
}

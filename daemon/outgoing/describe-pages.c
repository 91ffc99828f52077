/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/job.h"
#include "vfio/container.h"
#include <stdio.h>
#include <string.h>

/* Appends " (IOVA 0x10000..0x1ffff of nic0)" for the first mapping that leads there. */
static void describe_iova(struct iova_map *map, const char *name, const struct region *r, uint64_t offset,
                          uint64_t size_bytes, char *buf, size_t size)
{
    struct iova_mapping *maps;
    size_t nmaps, used = strlen(buf);
    if (iova_map_snapshot(map, &maps, &nmaps) < 0)
        return;
    for (size_t k = 0; k < nmaps; k++) {
        if (maps[k].region != r || offset < maps[k].offset_bytes ||
            offset - maps[k].offset_bytes >= maps[k].size_bytes)
            continue;
        uint64_t iova = maps[k].iova + (offset - maps[k].offset_bytes);
        snprintf(buf + used, size - used, " (IOVA 0x%llx..0x%llx of %s)", (unsigned long long)iova,
                 (unsigned long long)(iova + size_bytes - 1), name);
        break;
    }
    iova_mappings_free(maps, nmaps);
}

/* "ram0+0x10000..0x1ffff (IOVA 0x10000..0x1ffff of nic0)", for every device and container that sees it. */
void job_describe_pages(struct job *j, const struct region *r, uint64_t first, uint64_t count,
                        const char *device, char *buf, size_t size)
{
    const struct domain *d = j->domain;
    uint64_t offset = first << REGION_PAGE_SHIFT, bytes = count << REGION_PAGE_SHIFT;
    snprintf(buf, size, "%s+0x%llx..0x%llx", r->name, (unsigned long long)offset,
             (unsigned long long)(offset + bytes - 1));
    for (size_t i = 0; i < d->ndevices; i++) {
        struct device *one = d->devices[i].device;
        if (!device || strcmp(device, one->name) == 0)
            describe_iova(one->map, one->name, r, offset, bytes, buf, size);
    }
    for (size_t i = 0; i < d->ncontainers; i++) {
        struct container *c = d->containers[i].container;
        if (!device || strcmp(device, c->name) == 0)
            describe_iova(c->map, c->name, r, offset, bytes, buf, size);
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel DMA address spaces: what of them migd knows, and how exact their dirty bits can be. */
#include "base/format.h"
#include "check/check-private.h"
#include "vfio/container.h"
#include <string.h>

static void check_page_size(struct check *c, struct container *container)
{
    for (size_t i = 0; i < c->nmemory; i++) {
        const struct region *r = c->memory[i].region;
        if (r->file_page_bytes > REGION_PAGE_SIZE && iova_map_has(container->map, r))
            TELL(
                c, FINDING_CONTAINER_COARSE, container->name, NULL,
                "Memory %s lies on pages of %s, and container %s may have it mapped so: a byte that a device "
                "writes then costs %s",
                r->name, FORMAT_BYTES(r->file_page_bytes), container->name, FORMAT_BYTES(r->file_page_bytes));
    }
}

void check_container_facts(struct check *c)
{
    for (size_t i = 0; i < c->domain->ncontainers; i++) {
        struct container *container = c->domain->containers[i].container;
        if (container_is_gone(container))
            TELL(c, FINDING_HOLDER_GONE, container->name, NULL,
                 "Container %s is gone: the process that holds it ended", container->name);
        if (container->partial)
            TELL(c, FINDING_CONTAINER_PARTIAL, container->name, NULL,
                 "Container %s has HWPTs without dirty tracking: what a device there writes is not found",
                 container->name);
        if (iova_map_count(container->map) == 0)
            TELL(c, FINDING_CONTAINER_UNMAPPED, container->name, NULL,
                 "migd knows of no mapping in container %s, so it reads no dirty bits there",
                 container->name);
        /* type1 knows pages, iommufd entries of the IOMMU's page table. */
        if (strcmp(container->ops->kind, "iommufd") == 0)
            check_page_size(c, container);
    }
}

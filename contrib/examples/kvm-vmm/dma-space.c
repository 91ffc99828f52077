/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dma-space.h"
#include "new-requests.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int complain(const char *what)
{
    int error = errno;
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    return -error;
}

int dma_space_open(struct dma_space *s, enum dma_interface interface)
{
    *s = (struct dma_space){.interface = interface};
    const char *path = interface == DMA_LEGACY ? "/dev/vfio/vfio" : "/dev/iommu";
    s->fd = open(path, O_RDWR | O_CLOEXEC);
    if (s->fd < 0)
        return complain(path);
    if (interface == DMA_LEGACY)
        return 0;
    struct iofd_ioas_alloc alloc = {.size = sizeof alloc};
    if (ioctl(s->fd, IOFD_IOAS_ALLOC, &alloc) < 0)
        return complain("Cannot make an IOAS");
    s->ioas = alloc.out_ioas_id;
    return 0;
}

int dma_space_map(const struct dma_space *s, const struct guest_memory *memory)
{
    struct vfio_iommu_type1_dma_map type1 = {.argsz = sizeof type1,
                                             .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                             .vaddr = (uintptr_t)memory->base,
                                             .iova = 0,
                                             .size = memory->size};
    struct iofd_ioas_map ioas = {.size = sizeof ioas,
                                 .flags = IOFD_MAP_FIXED_IOVA | IOFD_MAP_WRITEABLE | IOFD_MAP_READABLE,
                                 .ioas_id = s->ioas,
                                 .user_va = (uintptr_t)memory->base,
                                 .length = memory->size,
                                 .iova = 0};
    int r = s->interface == DMA_LEGACY ? ioctl(s->fd, VFIO_IOMMU_MAP_DMA, &type1)
                                       : ioctl(s->fd, IOFD_IOAS_MAP, &ioas);
    return r < 0 ? complain("Cannot map the guest's memory for the devices") : 0;
}

void dma_space_close(struct dma_space *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

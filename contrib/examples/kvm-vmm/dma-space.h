/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The address space in which devices see the guest's memory: a type1 container or an IOAS of an iommufd. The
 * VMM maps; migd gets the descriptor and reads dirty bits from it. Main thread.
 */
#pragma once
#include "memory.h"
#include <stdbool.h>

enum dma_interface { DMA_IOMMUFD, DMA_LEGACY };

struct dma_space {
    enum dma_interface interface;
    int fd;        /* the container or iommufd; -1: there are no devices */
    uint32_t ioas; /* iommufd only */
};

/* Prints why it failed. */
int dma_space_open(struct dma_space *s, enum dma_interface interface);
/* All of the memory, where the guest has it. After the first device joined: a type1 container has no IOMMU
 * before. */
int dma_space_map(const struct dma_space *s, const struct guest_memory *memory);
void dma_space_close(struct dma_space *s);

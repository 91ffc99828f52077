/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The DMA table: what the client has mapped, sorted by IOVA, without overlap.
 *
 * The server thread changes it, and only while the engine is parked. The engine reads it, and sets dirty bits
 * with atomic operations; the server takes them out the same way while the engine runs.
 */
#pragma once
#include "base/util.h"
#include "vfio-user.h"

struct dma_map {
    uint64_t iova, size;
    uint64_t offset_bytes; /* in the client's file */
    bool writable;
    uint8_t *memory; /* NULL: DMA by message only */
    void *mapped;    /* what munmap() wants */
    size_t mapped_bytes;
    /* One bit per 4 KiB page that begins at or after the page of iova. NULL while nothing is logged. */
    uint64_t *dirty;
    uint64_t *late; /* dirty, but kept back until the next report */
};

struct dma_table {
    struct dma_map **maps;
    size_t n;
};

/* Pages of 4 KiB that the map touches. */
uint64_t dma_map_pages(const struct dma_map *map);
/* fd is -1 for a map without descriptor; not consumed. EEXIST for the same again, EINVAL for overlap,
 * nonsense, or a file that is too short. */
int dma_add(struct dma_table *t, const struct vfu_dma_map *m, int fd, struct dma_map **ret);
/* The map that is exactly this, or NULL. */
struct dma_map *dma_find_exact(struct dma_table *t, uint64_t iova, uint64_t size);
/* The map that contains iova, or NULL. */
struct dma_map *dma_find(const struct dma_table *t, uint64_t iova);
void dma_remove(struct dma_table *t, struct dma_map *map);
void dma_clear(struct dma_table *t);

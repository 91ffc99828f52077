/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The DMA log: one bit per 4 KiB page of every map that has a descriptor, reported in the page size that the
 * client asks for. Started and stopped by the server thread while the engine is parked; marked by the engine,
 * reported by the server, at the same time, with atomic operations. Order as with real hardware: memory
 * first, then the bit; so only the report after the device stopped is complete.
 */
#pragma once
#include "dma.h"

struct dirty_log {
    bool on;
    uint64_t page_size;
    struct vfu_log_range *ranges; /* none: all */
    uint32_t n_ranges;
    uint64_t late_every, lose_every; /* misbehaviour; 0: off */
    uint64_t marks;                  /* engine thread */
};

/* Starts. insists: the page size that the device wants, or 0. *ret_page_size is what it took. */
int dirty_start(struct dirty_log *log, struct dma_table *t, const struct vfu_log_control *control,
                const struct vfu_log_range *ranges, uint64_t insists, uint64_t *ret_page_size);
void dirty_stop(struct dirty_log *log, struct dma_table *t);
/* Gives a new map its bits when the log is on. */
int dirty_prepare(const struct dirty_log *log, struct dma_map *map);
/* The page at iova, inside map, was written. */
void dirty_mark(struct dirty_log *log, struct dma_map *map, uint64_t iova);
/* Takes the bits of [iova, iova + length) out of the log and ORs them into bitmap, which has
 * vfu_bitmap_bytes(length, page_size) bytes. EINVAL: off, wrong page size, a map without log. ENOENT: not
 * mapped. */
int dirty_report(struct dirty_log *log, struct dma_table *t, uint64_t iova, uint64_t length,
                 uint64_t page_size, uint64_t *bitmap);
/* What dirty_report() would refuse, before memory is taken for the bitmap. */
int dirty_check(const struct dirty_log *log, const struct dma_table *t, uint64_t iova, uint64_t length,
                uint64_t page_size);

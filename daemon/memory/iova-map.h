/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One DMA address space (a container): which IOVA ranges lead to which pages of which regions. A region may
 * be mapped at several IOVAs, and mappings come and go while rounds run (R6).
 *
 * Any thread; a lock inside protects the table. A lookup never returns a pointer into the table, only copies
 * with a region reference taken.
 */
#pragma once
#include "memory/region.h"

#define IOVA_READ         1u /* the device may read */
#define IOVA_WRITE        2u /* the device may write */
#define IOVA_MAPPINGS_MAX 65535u

struct iova_mapping {
    uint64_t iova;
    uint64_t size_bytes;
    struct region *region;
    uint64_t offset_bytes; /* of iova in the region */
    uint32_t prot;         /* IOVA_* */
};

struct iova_map;

int iova_map_new(struct iova_map **ret);
struct iova_map *iova_map_free(struct iova_map *m);
DEFINE_CLEANUP(struct iova_map *, iova_map_free)

/* iova, size and offset: multiples of 4 KiB; the range must be inside the region, must not wrap and must not
 * overlap a mapping
 * (-EEXIST, message names both). */
int iova_map_add(struct iova_map *m, const struct iova_mapping *mapping, struct mig_error *err);
/* Exactly one mapping as it was added, else -ENOENT. */
int iova_map_remove(struct iova_map *m, uint64_t iova, uint64_t size_bytes, struct mig_error *err);
void iova_map_clear(struct iova_map *m);
/* The mapping that contains iova, with a reference to its region, which the caller drops. -ENOENT. */
int iova_map_lookup(struct iova_map *m, uint64_t iova, struct iova_mapping *ret);
/* Whether anything leads into the region, and how many mappings there are, at this moment. */
bool iova_map_has(struct iova_map *m, const struct region *region);
size_t iova_map_count(struct iova_map *m);
/* A sorted copy of the table (regions referenced); free with iova_mappings_free. Counts 0 are fine. */
int iova_map_snapshot(struct iova_map *m, struct iova_mapping **ret, size_t *ret_count);
void iova_mappings_free(struct iova_mapping *mappings, size_t count);
/* Marks in the regions (region_mark) every page that [iova, iova + size) leads to; parts that lead nowhere
 * are ignored. */
void iova_map_mark(struct iova_map *m, uint64_t iova, uint64_t size_bytes);
/* Marks from a bitmap whose bit n is iova + n * page_bytes. Returns 4 KiB pages marked. */
uint64_t iova_map_mark_bitmap(struct iova_map *m, uint64_t iova, uint64_t page_bytes, const uint64_t *words,
                              uint64_t nbits);

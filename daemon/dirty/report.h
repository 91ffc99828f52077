/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From IOVAs to pages of regions: what trackers of DMA address spaces share. Worker thread. */
#pragma once
#include "dirty/tracker.h"
#include "memory/iova-map.h"

/* Bit n of words is m->iova + n * page_bytes. Whoever reports is not trusted with lengths: what does not lie
 * in the mapping is cut off, and a page size that makes no sense means all of it. */
void report_mapping_bits(struct dirty_sink *sink, const struct iova_mapping *m, uint64_t page_bytes,
                         const uint64_t *words, uint64_t nbits);
/* Every page that a device of this address space may write. */
void report_all_writable(struct iova_map *map, struct dirty_sink *sink);

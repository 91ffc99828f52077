/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that is made present before something is written into it. A page that the kernel cannot give is
 * -EFAULT when the kernel itself copies out of a socket, and SIGBUS for the whole daemon when a thread
 * of it does (TLS in user space, unpacking): such a thread asks for all of it first.
 *
 * One for each page connection, used by its thread only. It remembers what it has asked for; a page that was
 * present stays allocated, if not mapped.
 */
#pragma once
#include "base/error.h"
#include "memory/region.h"

struct populate {
    size_t nregions;
    struct bitmap **filled;  /* per region, made when needed: chunks of 2 MiB that were filled ahead */
    struct bitmap **present; /* and pages that are known to be there */
};
int populate_init(struct populate *p, size_t nregions);
void populate_destroy(struct populate *p);
/* A wish, for speed: large extents of fresh memory. region: its place among nregions. */
void populate_ahead(struct populate *p, size_t region, struct region *r, uint64_t offset_bytes,
                    uint64_t length_bytes);
/* 0: the range, which lies in the region, can be written without a signal. */
int populate_surely(struct populate *p, size_t region, struct region *r, uint64_t offset_bytes,
                    uint64_t length_bytes, struct mig_error *err);
/* What is said of a region that this host has no memory for. Returns -ENOMEM. */
int populate_no_memory(const struct region *r, struct mig_error *err);

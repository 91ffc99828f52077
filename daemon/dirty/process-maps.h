/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a process has a region mapped where it says. */
#pragma once
#include "base/error.h"
#include "memory/region.h"
#include <sys/types.h>

/* 0 when process `pid` has the whole region mapped shared, from `address` on. *ret_others: other writable
 * mappings of the region in that process, the first of which is at *ret_other_address; writes through them
 * are not seen by who watches `address`. */
int process_maps_check(pid_t pid, uint64_t address, const struct region *r, unsigned *ret_others,
                       uint64_t *ret_other_address, struct mig_error *err);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of compare.h: one file each. */
#pragma once
#include "incoming/compare.h"

int compare_malformed(struct mig_error *err, const char *what);
/* compare-memory.c */
int compare_memory(struct json_object *hello, const struct here *here, struct findings *ret,
                   struct mig_error *err);
/* compare-space.c: whether what is not there yet has room. After compare_memory, which has checked the form
 * of `regions`. */
int compare_space(struct json_object *regions, const struct here *here, struct findings *ret);
/* compare-devices.c */
int compare_devices(struct json_object *hello, const struct here *here, struct findings *ret,
                    struct mig_error *err);

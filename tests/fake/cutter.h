/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A network between two daemons that breaks: passes bytes on between a UNIX socket and another, and after so
 * many bytes in all closes everything, takes nobody for a while, and is whole again. One thread.
 */
#pragma once
#include "base/error.h"

#define CUTTER_CUTS_MAX 8

struct cutter_plan {
    uint64_t at_bytes[CUTTER_CUTS_MAX]; /* counted from the break before; 0 ends the list */
    unsigned away_msec;                 /* so long nobody gets through */
};
struct cutter;
int cutter_new(struct cutter **ret, const char *listen_path, const char *destination_path,
               const struct cutter_plan *plan);
unsigned cutter_cuts(const struct cutter *c);
struct cutter *cutter_free(struct cutter *c);

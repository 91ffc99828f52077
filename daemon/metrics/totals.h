/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What migrations did, summed up: a plain value. Those that ended are added for good; those that run are
 * added to a copy when somebody asks. A figure never gets smaller, since a migration's own figures never do.
 */
#pragma once
#include "migration/migration.h"

#define TOTALS_KINDS_MAX 8u

struct totals_histogram {
    uint64_t bucket[12], above, sum_usec;
};
struct totals {
    uint64_t ended[2][MIG_STATE_MAX]; /* direction, state */
    uint64_t errors[MIG_ERR_MAX];
    struct totals_histogram duration[2], downtime;
    struct migration_counters counters[2];
    struct {
        char kind[16];
        uint64_t harvests, pages;
    } tracker[TOTALS_KINDS_MAX];
};

extern const uint64_t totals_duration_bounds_usec[], totals_downtime_bounds_usec[];
extern const size_t totals_duration_bounds, totals_downtime_bounds;

/* ended: how it ended counts, too. */
void totals_add(struct totals *t, const struct migration_status *s, bool ended);

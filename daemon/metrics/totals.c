/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metrics/totals.h"
#include "base/util.h"
#include <stdio.h>
#include <string.h>

const uint64_t totals_duration_bounds_usec[] = {1000000,   5000000,   15000000,   60000000,
                                                180000000, 600000000, 1800000000, UINT64_C(7200000000)};
const uint64_t totals_downtime_bounds_usec[] = {5000,   10000,  25000,   50000,   100000,
                                                250000, 500000, 1000000, 2500000, 10000000};
const size_t totals_duration_bounds = ELEMENTS(totals_duration_bounds_usec);
const size_t totals_downtime_bounds = ELEMENTS(totals_downtime_bounds_usec);
_Static_assert(ELEMENTS(totals_downtime_bounds_usec) <= 12 && ELEMENTS(totals_duration_bounds_usec) <= 12,
               "buckets");

static void observe(struct totals_histogram *h, const uint64_t *bounds_usec, size_t n, uint64_t usec)
{
    size_t i = 0;
    while (i < n && usec > bounds_usec[i])
        i++;
    if (i < n)
        h->bucket[i]++;
    else
        h->above++;
    h->sum_usec += usec;
}

static void add_tracker(struct totals *t, const struct migration_tracker_status *s)
{
    for (size_t i = 0; i < TOTALS_KINDS_MAX; i++) {
        if (t->tracker[i].kind[0] && strcmp(t->tracker[i].kind, s->kind) != 0)
            continue;
        snprintf(t->tracker[i].kind, sizeof t->tracker[i].kind, "%s", s->kind);
        t->tracker[i].harvests += s->harvests;
        t->tracker[i].pages += s->pages_reported;
        return;
    }
}

static void add_end(struct totals *t, const struct migration_status *s)
{
    t->ended[s->direction][s->state]++;
    if (s->state == MIG_STATE_FAILED && s->error.code < MIG_ERR_MAX)
        t->errors[s->error.code]++;
    if (s->state != MIG_STATE_COMPLETED)
        return;
    observe(&t->duration[s->direction], totals_duration_bounds_usec, totals_duration_bounds,
            s->counters.elapsed_usec);
    if (s->direction == MIGRATION_OUTGOING)
        observe(&t->downtime, totals_downtime_bounds_usec, totals_downtime_bounds, s->counters.downtime_usec);
}

void totals_add(struct totals *t, const struct migration_status *s, bool ended)
{
    struct migration_counters *to = &t->counters[s->direction];
#define X(field, key, unit) to->field += s->counters.field;
    MIGD_STATUS_TABLE(X)
#undef X
    for (size_t i = 0; i < s->ntrackers; i++)
        add_tracker(t, &s->tracker[i]);
    if (ended)
        add_end(t, s);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two trackers of kernel DMA address spaces share. Worker thread. */
#pragma once
#include "dirty/granularity.h"
#include "dirty/tracker.h"
#include "vfio/container.h"

struct tracker_container {
    struct tracker base;
    struct container *container;
    struct granularity granularity; /* iommufd */
};

static inline struct tracker_container *tracker_container_of(struct tracker *t)
{
    return CONTAINER_OF(t, struct tracker_container, base);
}

int tracker_container_new(struct tracker **ret, const struct tracker_ops *ops, const char *kind,
                          struct container *c, struct mig_error *err);
void tracker_container_stop(struct tracker *t);
/* What a reading that failed with r and e means: all memory of the container counts as written. 0 when it may
 * go better next time; else, and at the gate (peek), where "written" would accuse a device of what nobody has
 * seen, the failure is the answer. */
int tracker_container_failed(struct tracker *t, bool peek, struct dirty_sink *sink, int r,
                             const struct mig_error *e, struct mig_error *err);
void tracker_container_destroy(struct tracker *t);

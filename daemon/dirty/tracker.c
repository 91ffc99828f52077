/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all trackers share: names. */
#include "dirty/tracker.h"
#include <stdio.h>
#include <string.h>

int tracker_init(struct tracker *t, const struct tracker_ops *ops, const char *name, const char *device,
                 struct mig_error *err)
{
    if (!name[0] || strlen(name) > TRACKER_NAME_MAX || strlen(device) > TRACKER_NAME_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                             "\"%.80s\" is not a name for a tracker: 1 to %d characters", name,
                             TRACKER_NAME_MAX);
    t->ops = ops;
    t->granularity_bytes = REGION_PAGE_SIZE;
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->device, sizeof t->device, "%s", device);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The IOMMU's own dirty bits, by iommufd. That tracking really is on is the container's business. Worker
 * thread. */
#include "dirty/tracker-container.h"

static int iommufd_begin(struct tracker *t, struct mig_error *err)
{
    int r = t->started ? 0 : container_start(tracker_container_of(t)->container, err);
    t->started = r == 0;
    return r;
}

static const struct tracker_ops iommufd_tracker_ops = {
    .kind = "iommufd",
    .answers_gate = true,
    .start = iommufd_begin,
    .stop = tracker_container_stop,
    .harvest = tracker_container_harvest,
    .destroy = tracker_container_destroy,
};

int tracker_new_iommufd(struct tracker **ret, struct container *container, struct mig_error *err)
{
    return tracker_container_new(ret, &iommufd_tracker_ops, "iommufd", container, err);
}

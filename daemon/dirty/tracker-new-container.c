/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tracker that fits a container. */
#include "dirty/tracker.h"
#include "vfio/container.h"
#include <string.h>

int tracker_new_container(struct tracker **ret, struct container *c, struct mig_error *err)
{
    return strcmp(c->ops->kind, "iommufd") == 0 ? tracker_new_iommufd(ret, c, err)
                                                : tracker_new_type1(ret, c, err);
}

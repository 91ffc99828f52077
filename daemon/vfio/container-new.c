/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which kind of container a descriptor is. */
#include "vfio/container.h"
#include "vfio/iommufd.h"

int container_new(struct container **ret, const char *name, int fd, const uint32_t *hwpts, size_t nhwpts,
                  uint32_t ioas, const struct kernel_calls *calls, struct mig_error *err)
{
    if (!kernel_fd_may_be_asked(fd))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "container %s: its descriptor is neither a VFIO container nor an iommufd", name);
    if (iommufd_is(fd, calls))
        return container_new_iommufd(ret, name, fd, hwpts, nhwpts, ioas, calls, err);
    if (nhwpts || ioas)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "container %s: HWPTs and an IOAS are given, but its descriptor is no iommufd",
                             name);
    return container_new_type1(ret, name, fd, calls, err);
}

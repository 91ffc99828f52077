/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Why a node of a device cannot be opened. */
#include "vfio/open.h"
#include "vfio/open-refuse.h"
#include <string.h>

static int not_viable(const struct open_device *d, const char *others, struct mig_error *err)
{
    return open_refuse(err, FINDING_GROUP_NOT_VIABLE, MIG_ERR_WRONG_STATE, EBUSY, NULL,
                       "device %s at %s (%s): drivers of the host have other devices of its IOMMU group %d: "
                       "%.200s",
                       d->name, d->target.address, d->target.driver, d->target.group, others);
}

int open_busy(const struct open_device *d, const char *path, struct mig_error *err)
{
    char others[220], who[200];
    open_target_neighbours(&d->target, &d->space->places, others, sizeof others);
    if (others[0])
        return not_viable(d, others, err);
    open_target_holders(path, &d->space->places, who, sizeof who);
    return open_refuse(err, FINDING_DEVICE_BUSY, MIG_ERR_BUSY, EBUSY, NULL,
                       "device %s at %s (%s, IOMMU group %d) is in use%s%s", d->name, d->target.address,
                       d->target.driver, d->target.group, who[0] ? " by " : "; nobody is seen with it", who);
}

int open_node_failed(const struct open_device *d, const char *path, int r, struct mig_error *err)
{
    if (r == -EBUSY)
        return open_busy(d, path, err);
    if (r == -EPERM || r == -EACCES)
        return open_refuse(err, FINDING_VFIO_NOT_ALLOWED, MIG_ERR_NOT_ALLOWED, -r, NULL,
                           "device %s at %s (%s): migd may not open %s: %s", d->name, d->target.address,
                           d->target.driver, path, strerror(-r));
    return open_refuse(err, FINDING_VFIO_MISSING, MIG_ERR_NOT_SUPPORTED, -r, NULL,
                       "device %s at %s (%s): cannot open %s: %s", d->name, d->target.address,
                       d->target.driver, path, strerror(-r));
}

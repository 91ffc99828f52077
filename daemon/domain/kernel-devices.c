/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/kernel-devices.h"
#include "base/finding.h"
#include "domain/structure.h"
#include "loop/loop.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <string.h>
#include <sys/stat.h>

/* Its own log, or else the containers, when nothing that it may write is outside of what they track. */
static int settle_tracking(struct domain *d, const struct device_info *info, const char *name,
                           struct domain_device *wanted, struct mig_error *err)
{
    if (!wanted->tracker_auto)
        return 0;
    wanted->tracker_auto = false;
    wanted->tracker_container = !info->dirty_log && d->ncontainers > 0;
    for (size_t i = 0; wanted->tracker_container && i < d->ncontainers; i++) {
        if (!d->containers[i].container->partial)
            continue;
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                              "device %s cannot log its DMA writes, and container %s has HWPTs without dirty "
                              "tracking, to one of which it may be attached",
                              name, d->containers[i].container->name);
        mig_error_hint(err,
                       "let its owner attach every device to an HWPT with DIRTY_TRACKING; or say what is "
                       "true of this one: tracker \"container\", or \"all\"");
        return r;
    }
    return 0;
}

bool domain_containers_miss(const struct domain *d, struct device *device)
{
    struct stat st;
    if (!kvfio_device_is(device) || !kvfio_device_is_mediated(device))
        return false;
    /* A cdev is on an iommufd, whatever containers there are besides. */
    bool iommufd = fstat(kvfio_device_fd(device), &st) == 0 && S_ISCHR(st.st_mode), heard = false;
    for (size_t i = 0; i < d->ncontainers; i++)
        heard |= strcmp(d->containers[i].container->ops->kind, "iommufd") != 0;
    return iommufd || (d->ncontainers && !heard);
}

static int check_tracking(struct domain *d, struct device *device, const struct domain_device *wanted,
                          struct mig_error *err)
{
    const struct device_info *info = device->ops->info(device);
    const char *name = device->name;
    if (wanted->tracker_container && d->ncontainers == 0) {
        int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                              "device %s: its container is to say what it writes, but domain %s has none",
                              name, d->name);
        mig_error_hint(err, "add the container first");
        return r;
    }
    if (wanted->tracker_container && domain_containers_miss(d, device)) {
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                              "device %s is a mediated device on an iommufd: its driver writes memory behind "
                              "the IOMMU, whose dirty bits do not show it",
                              name);
        mig_error_hint(err, "%s (migctl explain %s)",
                       info->dirty_log
                           ? "give tracker \"device\": it has a log of its own"
                           : "let its owner use a type1 container, or give tracker \"all\": then all "
                             "memory is sent again in the blackout",
                       finding_code_to_string(FINDING_DEVICE_MDEV_UNTRACKED));
        return r;
    }
    if (wanted->tracker_all || wanted->tracker_container || info->dirty_log || d->incoming)
        return 0;
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "device %s cannot log its DMA writes", name);
    mig_error_hint(err, "add its container and give tracker \"container\", or give tracker \"all\": then all "
                        "memory is sent again in "
                        "the blackout");
    return r;
}

int domain_settle_tracking(struct domain *d, struct device *device, struct domain_device *wanted,
                           struct mig_error *err)
{
    int r = settle_tracking(d, device->ops->info(device), device->name, wanted, err);
    return r < 0 ? r : check_tracking(d, device, wanted, err);
}

int domain_open_kernel_device(struct domain *d, const char *name, struct domain_device *wanted, int fd,
                              int pidfd, struct mig_error *err)
{
    const struct kvfio_device_options options = {
        .fd = fd, .gone_fd = pidfd, .timeout_usec = wanted->timeout_usec};
    _cleanup_(device_unrefp) struct device *device = NULL;
    int r = kvfio_device_new(&device, name, &options, err);
    if (r == 0)
        r = domain_settle_tracking(d, device, wanted, err);
    if (r < 0)
        return r;
    struct domain_device dd = *wanted;
    dd.device = device;
    r = domain_map_device(d, &dd, err);
    if (r == 0)
        wanted->device = TAKE_PTR(device);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * By cdev and iommufd. Order matters (linux/iommufd.h): the option of the IOAS comes before anything is
 * attached; a device is bound before anything is asked of it; and whether its writes are tracked is decided
 * by what it is attached to: an HWPT allocated with dirty tracking, while the one that the kernel makes for
 * an IOAS does not track.
 *
 * Devices share an HWPT as long as the kernel lets them. Behind another IOMMU, or one with other properties,
 * ATTACH answers EINVAL, and the device gets an HWPT of its own on the same IOAS. A mediated device has none:
 * its driver does the DMA, and the IOMMU sees nothing of it.
 */
#include "base/fds.h"
#include "vfio/iommufd.h"
#include "vfio/iommufd-uapi.h"
#include "vfio/open-refuse.h"
#include "vfio/open.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int open_iommufd_space(struct open_space *s, struct mig_error *err)
{
    const struct kernel_calls *calls = s->places.calls;
    char path[OPEN_PATH_MAX];
    if (!open_place(path, s->places.dev, "/dev", "iommu"))
        return mig_error_set(err, MIG_ERR_FAILED, ENAMETOOLONG, "the path of /dev is too long");
    s->fd = kernel_open(calls, path, O_RDWR);
    if (s->fd == -EPERM || s->fd == -EACCES)
        return open_refuse(err, FINDING_VFIO_NOT_ALLOWED, MIG_ERR_NOT_ALLOWED, -s->fd, NULL,
                           "container %s: migd may not open %s: %s", s->name, path, strerror(-s->fd));
    if (s->fd < 0)
        return open_refuse(err, FINDING_IOMMUFD_MISSING, MIG_ERR_NOT_SUPPORTED, -s->fd, NULL,
                           "container %s: opening %s: %s", s->name, path, strerror(-s->fd));
    int r = iommufd_ioas_alloc(s->fd, calls, &s->ioas);
    if (r < 0)
        return open_refuse(err, FINDING_IOMMUFD_MISSING, MIG_ERR_NOT_SUPPORTED, -r, NULL,
                           "container %s: allocating an IOAS: %s", s->name, strerror(-r));
    r = s->split ? iommufd_huge_pages(s->fd, calls, s->ioas, false) : 0;
    if (r < 0)
        return open_refuse(err, FINDING_CONTAINER_NO_SPLIT, MIG_ERR_NOT_SUPPORTED, -r, NULL,
                           "container %s: splitting IOAS %u into entries of 4 KiB: %s", s->name, s->ioas,
                           strerror(-r));
    return 0;
}

static int bind_device(struct open_device *d, const char *path, struct mig_error *err)
{
    struct open_space *s = d->space;
    struct kvfio_bind_iommufd bind = {.argsz = sizeof bind, .iommufd = s->fd};
    char group[OPEN_PATH_MAX], who[100] = "";
    int r = kernel_ioctl(s->places.calls, d->fd, KVFIO_DEVICE_BIND_IOMMUFD, &bind);
    if (r >= 0) {
        d->devid = bind.out_devid;
        return 0;
    }
    close_fd(&d->fd); /* so that migd does not find itself among those who have it */
    if (r == -EBUSY || r == -EINVAL) {
        /* By the group of old the kernel says EBUSY, by the cdev EINVAL, as it does for more. */
        bool by_group = open_place(group, s->places.dev, "/dev", "vfio/%d", d->target.group);
        if (by_group)
            open_target_holders(group, &s->places, who, sizeof who);
        by_group &= who[0] != '\0';
        if (!by_group)
            open_target_holders(path, &s->places, who, sizeof who);
        if (r == -EBUSY || who[0])
            return open_busy(d, by_group ? group : path, err);
    }
    if (r == -EPERM)
        return open_refuse(err, FINDING_IOMMU_NO_ISOLATION, MIG_ERR_NOT_SUPPORTED, EPERM, NULL,
                           "device %s at %s (%s): the kernel does not bind it to an iommufd: %s", d->name,
                           d->target.address, d->target.driver, strerror(-r));
    return open_refuse(err, FINDING_DEVICE_OPEN_FAILED, MIG_ERR_DEVICE, -r, NULL,
                       "device %s at %s: its driver %s refuses to open it: %s", d->name, d->target.address,
                       d->target.driver, strerror(-r));
}

/* ---- attaching ---- */

static int attach(struct open_device *d, uint32_t pt)
{
    struct kvfio_attach_pt arg = {.argsz = sizeof arg, .pt_id = pt};
    int r = kernel_ioctl(d->space->places.calls, d->fd, KVFIO_DEVICE_ATTACH_PT, &arg);
    if (r >= 0)
        d->hwpt = arg.pt_id;
    return r < 0 ? r : 0;
}

static int attach_failed(const struct open_device *d, int r, struct mig_error *err)
{
    return open_refuse(err, FINDING_CONTAINER_REFUSED, MIG_ERR_NOT_SUPPORTED, -r, NULL,
                       "device %s at %s (%s): the kernel does not attach it to container %s (IOAS %u): %s",
                       d->name, d->target.address, d->target.driver, d->space->name, d->space->ioas,
                       strerror(-r));
}

/* One that another device has. -EINVAL: none of them fits. */
static int attach_to_known(struct open_device *d)
{
    struct open_space *s = d->space;
    int r = -EINVAL;
    for (size_t i = 0; i < s->nhwpts && r == -EINVAL; i++) {
        r = attach(d, s->hwpts[i].id);
        if (r == 0) {
            s->hwpts[i].users++;
            d->hwpt = s->hwpts[i].id;
            d->tracked = true;
        }
    }
    return r;
}

static int attach_to_fresh(struct open_device *d, bool *ret_cannot, struct mig_error *err)
{
    struct open_space *s = d->space;
    uint32_t hwpt;
    if (s->nhwpts >= OPEN_HWPTS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "container %s has %u HWPTs already, which is the limit",
                             s->name, OPEN_HWPTS_MAX);
    int r = iommufd_hwpt_alloc_tracking(s->fd, s->places.calls, d->devid, s->ioas, &hwpt);
    if (r < 0) {
        *ret_cannot = r == -EOPNOTSUPP || r == -EINVAL || r == -ENOTTY;
        return open_refuse(err, FINDING_IOMMU_NO_DIRTY_TRACKING, MIG_ERR_NOT_SUPPORTED, -r, NULL,
                           "device %s at %s (%s): allocating an HWPT with dirty tracking: %s", d->name,
                           d->target.address, d->target.driver, strerror(-r));
    }
    r = attach(d, hwpt);
    if (r < 0) {
        iommufd_destroy(s->fd, s->places.calls, hwpt);
        return attach_failed(d, r, err);
    }
    s->hwpts[s->nhwpts++] = (struct open_hwpt){.id = hwpt, .users = 1};
    d->hwpt = hwpt;
    d->tracked = true;
    return 0;
}

/* *ret_cannot: neither the IOMMU nor the kernel is to blame the caller for. */
static int attach_tracking(struct open_device *d, bool own_hwpt, bool *ret_cannot, struct mig_error *err)
{
    int r = own_hwpt ? -EINVAL : attach_to_known(d);
    if (r == -EINVAL)
        return attach_to_fresh(d, ret_cannot, err);
    return r < 0 ? attach_failed(d, r, err) : 0;
}

/* -ENOENT: the id is no device behind an IOMMU, so a driver does its DMA. */
static int ask_iommu(struct open_device *d, bool *ret_tracks)
{
    int r = iommufd_device_tracks(d->space->fd, d->space->places.calls, d->devid, ret_tracks);
    return r == -ENOTTY || r == -EOPNOTSUPP ? 0 : r; /* older than 6.6: then nothing tracks */
}

static int attach_as_wished(struct open_device *d, const struct open_device_options *o, struct mig_error *err)
{
    bool tracks = false, cannot = false;
    int r = ask_iommu(d, &tracks);
    bool mediated = r == -ENOENT;
    if (r < 0 && !mediated)
        return open_refuse(err, FINDING_DEVICE_OPEN_FAILED, MIG_ERR_DEVICE, -r, NULL,
                           "device %s at %s (%s): asking for the properties of its IOMMU: %s", d->name,
                           d->target.address, d->target.driver, strerror(-r));
    if (o->tracking == OPEN_YES && !tracks)
        return open_refuse(err, FINDING_IOMMU_NO_DIRTY_TRACKING, MIG_ERR_NOT_SUPPORTED, 0, NULL,
                           "device %s at %s (%s): %s", d->name, d->target.address, d->target.driver,
                           mediated ? "it is a mediated device, whose writes the IOMMU does not see"
                                    : "its IOMMU has no dirty bits, or the kernel does not use them");
    if (tracks && o->tracking != OPEN_NO) {
        struct mig_error e = MIG_ERROR_INIT;
        r = attach_tracking(d, o->own_hwpt, &cannot, &e);
        if (r == 0 || !cannot || o->tracking == OPEN_YES) {
            if (r < 0 && err)
                *err = e;
            return r;
        }
    }
    r = attach(d, d->space->ioas);
    if (mediated)
        d->hwpt = 0;
    return r < 0 ? attach_failed(d, r, err) : 0;
}

int open_iommufd_device(struct open_device *d, const struct open_device_options *o, struct mig_error *err)
{
    struct open_space *s = d->space;
    char path[OPEN_PATH_MAX];
    if (!d->target.cdev[0])
        return open_refuse(err, FINDING_IOMMUFD_MISSING, MIG_ERR_NOT_SUPPORTED, ENODEV, NULL,
                           "device %s at %s (%s) has no node below /dev/vfio/devices", d->name,
                           d->target.address, d->target.driver);
    if (!open_place(path, s->places.dev, "/dev", "vfio/devices/%s", d->target.cdev))
        return mig_error_set(err, MIG_ERR_FAILED, ENAMETOOLONG, "the path of /dev is too long");
    int r = kernel_open(s->places.calls, path, O_RDWR);
    if (r < 0)
        return open_node_failed(d, path, r, err);
    d->fd = r;
    r = bind_device(d, path, err);
    return r < 0 ? r : attach_as_wished(d, o, err);
}

int open_iommufd_adopt(struct open_device *d, struct mig_error *err)
{
    struct open_space *s = d->space;
    size_t i = 0;
    while (i < s->nhwpts && s->hwpts[i].id != d->hwpt)
        i++;
    if (i == OPEN_HWPTS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "container %s has more than %u HWPTs", s->name,
                             OPEN_HWPTS_MAX);
    if (i == s->nhwpts)
        s->hwpts[s->nhwpts++] = (struct open_hwpt){.id = d->hwpt};
    s->hwpts[i].users++;
    d->tracked = true;
    return 0;
}

void open_iommufd_close(struct open_device *d)
{
    struct open_space *s = d->space;
    for (size_t i = 0; d->tracked && i < s->nhwpts; i++) {
        if (s->hwpts[i].id != d->hwpt || --s->hwpts[i].users > 0)
            continue;
        /* Busy as long as a VMM has the device. */
        iommufd_destroy(s->fd, s->places.calls, d->hwpt);
        s->hwpts[i] = s->hwpts[--s->nhwpts];
        return;
    }
}

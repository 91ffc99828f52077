/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * By group and container: /dev/vfio/vfio, VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU once the first group is
 * in, VFIO_GROUP_GET_DEVICE_FD. A group can be opened once only, so that its devices share the descriptor.
 */
#include "base/fds.h"
#include "vfio/iommufd.h"
#include "vfio/open-refuse.h"
#include "vfio/open.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <string.h>

static int space_failed(const struct open_space *s, const char *what, int r, struct mig_error *err)
{
    if (r == -EPERM || r == -EACCES)
        return open_refuse(err, FINDING_VFIO_NOT_ALLOWED, MIG_ERR_NOT_ALLOWED, -r, NULL,
                           "container %s: %s: %s", s->name, what, strerror(-r));
    return open_refuse(err, FINDING_VFIO_MISSING, MIG_ERR_NOT_SUPPORTED, -r, NULL, "container %s: %s: %s",
                       s->name, what, strerror(-r));
}

int open_legacy_space(struct open_space *s, struct mig_error *err)
{
    const struct kernel_calls *calls = s->places.calls;
    char path[OPEN_PATH_MAX];
    if (!open_place(path, s->places.dev, "/dev", "vfio/vfio"))
        return mig_error_set(err, MIG_ERR_FAILED, ENAMETOOLONG, "the path of /dev is too long");
    s->fd = kernel_open(calls, path, O_RDWR);
    if (s->fd < 0)
        return space_failed(s, "opening /dev/vfio/vfio", s->fd, err);
    int r = kernel_ioctl(calls, s->fd, KVFIO_GET_API_VERSION, NULL);
    if (r == KVFIO_API_VERSION)
        r = kernel_ioctl(calls, s->fd, KVFIO_CHECK_EXTENSION, (void *)(uintptr_t)KVFIO_TYPE1V2_IOMMU);
    else if (r >= 0)
        r = -EPROTO;
    if (r <= 0)
        return space_failed(s, "asking for type1 v2 (module vfio_iommu_type1)", r < 0 ? r : -ENODEV, err);
    return 0;
}

static struct open_group *find_group(struct open_space *s, int number)
{
    for (size_t i = 0; i < s->ngroups; i++)
        if (s->groups[i].number == number)
            return &s->groups[i];
    return NULL;
}

static int check_viable(const struct open_device *d, int group, const char *path, struct mig_error *err)
{
    struct kvfio_group_status status = {.argsz = sizeof status};
    int r = kernel_ioctl(d->space->places.calls, group, KVFIO_GROUP_GET_STATUS, &status);
    if (r < 0)
        return open_node_failed(d, path, r, err);
    if (status.flags & KVFIO_GROUP_HAS_CONTAINER)
        return open_busy(d, path, err);
    if (status.flags & KVFIO_GROUP_VIABLE)
        return 0;
    char others[220];
    open_target_neighbours(&d->target, &d->space->places, others, sizeof others);
    return open_refuse(
        err, FINDING_GROUP_NOT_VIABLE, MIG_ERR_WRONG_STATE, EBUSY, NULL,
        "device %s at %s (%s): its IOMMU group %d is not viable, since drivers of the host have "
        "others of it: %s",
        d->name, d->target.address, d->target.driver, d->target.group,
        others[0] ? others : "which, sysfs does not tell");
}

static int join(const struct open_device *d, int group, struct mig_error *err)
{
    struct open_space *s = d->space;
    const struct kernel_calls *calls = s->places.calls;
    int r = kernel_ioctl(calls, group, KVFIO_GROUP_SET_CONTAINER, &s->fd);
    if (r >= 0 && !s->has_iommu)
        r = kernel_ioctl(calls, s->fd, KVFIO_SET_IOMMU, (void *)(uintptr_t)KVFIO_TYPE1V2_IOMMU);
    /* Only now: a container without an IOMMU answers EINVAL to whatever it does not know. */
    if (r >= 0 && !s->has_iommu && iommufd_is(s->fd, calls))
        return open_refuse(
            err, FINDING_VFIO_MISSING, MIG_ERR_NOT_SUPPORTED, 0,
            "open the device with interface iommufd instead",
            "device %s: this kernel's /dev/vfio/vfio is an iommufd that plays a container, and "
            "there the kernel tracks nothing",
            d->name);
    if (r >= 0) {
        s->has_iommu = true;
        return 0;
    }
    if (r == -EPERM)
        return open_refuse(
            err, FINDING_IOMMU_NO_ISOLATION, MIG_ERR_NOT_SUPPORTED, EPERM, NULL,
            "device %s at %s (%s): the kernel does not let IOMMU group %d into container %s: %s", d->name,
            d->target.address, d->target.driver, d->target.group, s->name, strerror(-r));
    return open_refuse(err, FINDING_CONTAINER_REFUSED, MIG_ERR_NOT_SUPPORTED, -r, NULL,
                       "device %s at %s (%s): its IOMMU group %d cannot be put into container %s: %s",
                       d->name, d->target.address, d->target.driver, d->target.group, s->name, strerror(-r));
}

static int open_group(struct open_device *d, struct open_group **ret, struct mig_error *err)
{
    struct open_space *s = d->space;
    char path[OPEN_PATH_MAX];
    if (s->ngroups >= OPEN_GROUPS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "container %s has %u groups already, which is the limit",
                             s->name, OPEN_GROUPS_MAX);
    if (!open_place(path, s->places.dev, "/dev", "vfio/%d", d->target.group))
        return mig_error_set(err, MIG_ERR_FAILED, ENAMETOOLONG, "the path of /dev is too long");
    _cleanup_close_ int fd = kernel_open(s->places.calls, path, O_RDWR);
    if (fd < 0)
        return open_node_failed(d, path, fd, err);
    int r = check_viable(d, fd, path, err);
    if (r == 0)
        r = join(d, fd, err);
    if (r < 0)
        return r;
    *ret = &s->groups[s->ngroups++];
    **ret = (struct open_group){.number = d->target.group, .fd = TAKE_FD(fd)};
    return 0;
}

int open_legacy_device(struct open_device *d, struct mig_error *err)
{
    struct open_space *s = d->space;
    if (d->target.group < 0)
        return open_refuse(err, FINDING_VFIO_MISSING, MIG_ERR_NOT_SUPPORTED, ENODEV,
                           "open the device with interface iommufd instead",
                           "device %s at %s (%s): this kernel gives it no IOMMU group for a container",
                           d->name, d->target.address, d->target.driver);
    struct open_group *g = find_group(s, d->target.group);
    int r = g ? 0 : open_group(d, &g, err);
    if (r < 0)
        return r;
    g->users++;
    d->group = g->number;
    d->group_fd = g->fd;
    r = kernel_ioctl(s->places.calls, g->fd, KVFIO_GROUP_GET_DEVICE_FD, d->target.address);
    if (r >= 0) {
        d->fd = r;
        d->tracked = true; /* if only as "everything" */
        return 0;
    }
    if (r == -EBUSY)
        return open_busy(d, "", err);
    return open_refuse(err, FINDING_DEVICE_OPEN_FAILED, MIG_ERR_DEVICE, -r, NULL,
                       "device %s at %s: its driver %s refuses to open it: %s", d->name, d->target.address,
                       d->target.driver, strerror(-r));
}

int open_legacy_adopt(struct open_device *d, int group_fd, struct mig_error *err)
{
    struct open_space *s = d->space;
    struct open_group *g = find_group(s, d->target.group);
    if (!g) {
        int fd = s->ngroups < OPEN_GROUPS_MAX ? fd_dup(group_fd) : -E2BIG;
        if (fd < 0)
            return mig_error_set(err, MIG_ERR_FAILED, -fd, "device %s: the descriptor of its group: %s",
                                 d->name, strerror(-fd));
        g = &s->groups[s->ngroups++];
        *g = (struct open_group){.number = d->target.group, .fd = fd};
    }
    g->users++;
    d->group = g->number;
    d->group_fd = g->fd;
    d->tracked = true;
    return 0;
}

void open_legacy_close(struct open_device *d)
{
    struct open_space *s = d->space;
    struct open_group *g = find_group(s, d->group);
    if (!g || --g->users > 0)
        return;
    close_fd(&g->fd); /* which takes it out of the container */
    *g = s->groups[--s->ngroups];
    s->has_iommu &= s->ngroups > 0; /* the kernel forgets the IOMMU with the last group */
}

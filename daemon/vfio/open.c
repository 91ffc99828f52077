/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Spaces and devices as objects, and the failures that both ways of opening share. */
#include "vfio/open.h"
#include "base/fds.h"
#include "vfio/open-refuse.h"
#include <stdio.h>
#include <string.h>

bool open_has_iommufd(const struct open_places *places)
{
    char path[OPEN_PATH_MAX];
    return open_place(path, places ? places->dev : NULL, "/dev", "iommu") && access(path, F_OK) == 0;
}

/* ---- spaces ---- */

static int make_space(struct open_space **ret, const char *name, bool iommufd, bool split,
                      const struct open_places *places, struct mig_error *err)
{
    if (!name[0] || strlen(name) > OPEN_NAME_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a container needs a name of 1 to %d bytes",
                             OPEN_NAME_MAX);
    struct open_space *s = calloc(1, sizeof *s);
    if (!s)
        return mig_error_oom(err);
    s->refs = 1;
    s->fd = -1;
    snprintf(s->name, sizeof s->name, "%s", name);
    if (places)
        s->places = *places;
    s->iommufd = iommufd;
    s->split = split;
    *ret = s;
    return 0;
}

int open_space_new(struct open_space **ret, const char *name, bool iommufd, bool split,
                   const struct open_places *places, struct mig_error *err)
{
    if (split && !iommufd)
        return open_refuse(
            err, FINDING_CONTAINER_NO_SPLIT, MIG_ERR_NOT_SUPPORTED, 0, NULL,
            "container %s is to be split into entries of 4 KiB, which a type1 container cannot", name);
    _cleanup_(open_space_unrefp) struct open_space *s = NULL;
    int r = make_space(&s, name, iommufd, split, places, err);
    if (r == 0)
        r = iommufd ? open_iommufd_space(s, err) : open_legacy_space(s, err);
    if (r == 0)
        *ret = TAKE_PTR(s);
    return r;
}

int open_space_adopt(struct open_space **ret, const char *name, bool iommufd, bool split, uint32_t ioas,
                     int fd, struct mig_error *err)
{
    _cleanup_(open_space_unrefp) struct open_space *s = NULL;
    int r = make_space(&s, name, iommufd, split, NULL, err);
    if (r < 0)
        return r;
    s->ioas = ioas;
    s->has_iommu = !iommufd;
    s->fd = fd_dup(fd);
    if (s->fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -s->fd, "container %s: its descriptor: %s", name,
                             strerror(-s->fd));
    *ret = TAKE_PTR(s);
    return 0;
}

struct open_space *open_space_ref(struct open_space *s)
{
    if (s)
        __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

struct open_space *open_space_unref(struct open_space *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    for (size_t i = 0; i < s->ngroups; i++)
        close_fd(&s->groups[i].fd);
    close_fd(&s->fd);
    free(s);
    return NULL;
}

/* ---- devices ---- */

static int make_device(struct open_device **ret, struct open_space *space, const char *name,
                       const struct open_target *target, struct mig_error *err)
{
    if (!name[0] || strlen(name) > OPEN_NAME_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a device needs a name of 1 to %d bytes",
                             OPEN_NAME_MAX);
    struct open_device *d = calloc(1, sizeof *d);
    if (!d)
        return mig_error_oom(err);
    d->refs = 1;
    d->fd = d->group = d->group_fd = -1;
    d->target = *target;
    d->space = open_space_ref(space);
    snprintf(d->name, sizeof d->name, "%s", name);
    *ret = d;
    return 0;
}

int open_device_new(struct open_device **ret, struct open_space *space, const char *name,
                    const struct open_target *target, const struct open_device_options *options,
                    struct mig_error *err)
{
    _cleanup_(open_device_unrefp) struct open_device *d = NULL;
    int r = make_device(&d, space, name, target, err);
    if (r == 0)
        r = space->iommufd ? open_iommufd_device(d, options, err) : open_legacy_device(d, err);
    if (r == 0)
        *ret = TAKE_PTR(d);
    return r;
}

int open_device_adopt(struct open_device **ret, struct open_space *space, const char *name,
                      const struct open_target *target, const struct open_kept *kept, struct mig_error *err)
{
    _cleanup_(open_device_unrefp) struct open_device *d = NULL;
    int r = make_device(&d, space, name, target, err);
    if (r < 0)
        return r;
    d->fd = fd_dup(kept->fd);
    if (d->fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -d->fd, "device %s: its descriptor: %s", name,
                             strerror(-d->fd));
    d->devid = kept->devid;
    d->hwpt = kept->hwpt;
    r = space->iommufd ? kept->tracked ? open_iommufd_adopt(d, err) : 0
                       : open_legacy_adopt(d, kept->group_fd, err);
    if (r == 0)
        *ret = TAKE_PTR(d);
    return r;
}

struct open_device *open_device_ref(struct open_device *d)
{
    if (d)
        __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

struct open_device *open_device_unref(struct open_device *d)
{
    if (!d || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    close_fd(&d->fd);
    if (d->space->iommufd)
        open_iommufd_close(d);
    else
        open_legacy_close(d);
    open_space_unref(d->space);
    free(d);
    return NULL;
}

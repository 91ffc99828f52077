/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/opened.h"
#include "domain/kernel-devices.h"
#include "domain/structure.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include "vfio/open-refuse.h"
#include <stdio.h>
#include <string.h>

void domain_clear_opened(struct domain *d)
{
    for (size_t i = 0; i < d->nopened; i++)
        open_device_unref(d->opened[i].device);
    free(d->opened);
    d->opened = NULL;
    d->nopened = 0;
}

void domain_open_clear(struct domain_open *o)
{
    o->wanted.device = device_unref(o->wanted.device);
    o->container_made = container_unref(o->container_made);
    o->opened = open_device_unref(o->opened);
}

/* ---- before ---- */

static bool maps_memory(struct domain *d, const char *container)
{
    const struct container *c = domain_find_container(d, container);
    return c && c->maps;
}

static int differs(const struct domain_open *o, const char *what, struct mig_error *err)
{
    return open_refuse(err, FINDING_CONTAINER_DIFFERS, MIG_ERR_INVALID_ARGUMENT, 0, NULL,
                       "device %s: container %s of domain %s %s", o->name, o->container, o->domain->name,
                       what);
}

/* The container is there: what is wished has to be what it is. */
static int check_space(const struct domain_open *o, const struct open_space *s, struct mig_error *err)
{
    bool maps = maps_memory(o->domain, s->name);
    if (o->interface != DOMAIN_INTERFACE_AUTO && s->iommufd != (o->interface == DOMAIN_INTERFACE_IOMMUFD))
        return differs(o, s->iommufd ? "is an iommufd" : "is a legacy one", err);
    if (o->split == OPEN_YES && !s->split)
        return open_refuse(
            err, FINDING_CONTAINER_NO_SPLIT, MIG_ERR_WRONG_STATE, 0, NULL,
            "device %s: container %s of domain %s has devices already, and was not split before "
            "the first",
            o->name, s->name, o->domain->name);
    if (o->split == OPEN_NO && s->split)
        return differs(o, "is split into entries of 4 KiB", err);
    if (o->map_memory != OPEN_AS_POSSIBLE && maps != (o->map_memory == OPEN_YES))
        return differs(o, maps ? "is mapped by migd" : "is mapped by its VMM", err);
    return 0;
}

static int taken(const struct domain_open *o, const char *name, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_EXISTS, 0,
                         "domain %s already has a container, device or tracker named %s", o->domain->name,
                         name);
}

int domain_open_check(const struct domain_open *o, struct mig_error *err)
{
    struct domain *d = o->domain;
    int r = domain_part_name_check("device", o->name, err);
    if (r == 0)
        r = domain_part_name_check("container", o->container, err);
    if (r < 0)
        return r;
    const struct open_space *s = domain_find_open_space(d, o->container);
    if (strcmp(o->name, o->container) == 0 || domain_find_device(d, o->name) ||
        domain_find_container(d, o->name) || domain_find_tracker(d, o->name) ||
        domain_find_opened(d, o->name))
        return taken(o, o->name, err);
    if (s)
        return check_space(o, s, err);
    if (domain_find_container(d, o->container))
        return differs(o, "was handed over by its owner, so that only its owner can put devices into it",
                       err);
    if (domain_find_device(d, o->container) || domain_find_tracker(d, o->container) ||
        domain_find_opened(d, o->container))
        return taken(o, o->container, err);
    return 0;
}

int domain_opened_matches(const struct domain_opened *held, const struct domain_open *o,
                          struct mig_error *err)
{
    const struct open_device *od = held->device;
    struct open_target t;
    int r = open_target_find(&t, o->name, o->address, o->places, err);
    if (r < 0)
        return r;
    if (strcmp(t.sysfs, od->target.sysfs) != 0)
        return mig_error_set(err, MIG_ERR_EXISTS, 0, "domain %s has a device named %s already, at %s",
                             o->domain->name, o->name, od->target.address);
    if (strcmp(o->container, od->space->name) != 0)
        return mig_error_set(err, MIG_ERR_EXISTS, 0, "device %s of domain %s is in container %s already",
                             o->name, o->domain->name, od->space->name);
    if (o->with_state != held->with_state)
        return mig_error_set(err, MIG_ERR_EXISTS, 0, "device %s of domain %s was opened %s its state",
                             o->name, o->domain->name, held->with_state ? "with" : "without");
    return check_space(o, od->space, err);
}

/* ---- opening, on a helper ---- */

/* *ret is a reference. */
static int have_space(const struct domain_open *o, const struct open_target *target, struct open_space **ret,
                      struct mig_error *err)
{
    struct open_space *s = domain_find_open_space(o->domain, o->container);
    if (s) {
        *ret = open_space_ref(s);
        return 0;
    }
    bool iommufd = o->interface == DOMAIN_INTERFACE_AUTO ? open_has_iommufd(o->places) && target->cdev[0]
                                                         : o->interface == DOMAIN_INTERFACE_IOMMUFD;
    return open_space_new(ret, o->container, iommufd, o->split == OPEN_YES, o->places, err);
}

static int make_container(const struct domain_open *o, struct container **ret, struct mig_error *err)
{
    const struct open_space *s = o->opened->space;
    _cleanup_(container_unrefp) struct container *c = NULL;
    int r = s->iommufd ? container_new_own_iommufd(&c, s->name, s->fd, s->ioas, s->places.calls, err)
                       : container_new_type1(&c, s->name, s->fd, s->places.calls, err);
    if (r == 0 && s->iommufd && o->opened->tracked)
        r = container_add_hwpt(c, o->opened->hwpt, err);
    if (r < 0)
        return r;
    c->maps = o->map_memory == OPEN_YES;
    const struct domain_container dc = {.container = c, .automap = o->wanted.automap};
    r = domain_map_container(o->domain, &dc, err);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}

/* info NULL: it is opened without its state. */
static int settle_tracker(struct domain_open *o, const struct device_info *info, struct mig_error *err)
{
    struct domain_device *w = &o->wanted;
    const struct open_target *t = &o->opened->target;
    bool logs = info && info->dirty_log, sees = o->opened->tracked;
    if (w->tracker_auto) {
        w->tracker_container = !logs && sees;
        /* Of what comes in nothing is tracked before it leaves again. */
        w->tracker_all = !logs && !sees && o->domain->incoming;
        w->tracker_auto = false;
        if (!logs && !sees && !w->tracker_all)
            return open_refuse(
                err, FINDING_DEVICE_NO_TRACKER, MIG_ERR_NOT_SUPPORTED, 0, NULL,
                "device %s at %s (%s): neither a log of its own nor its container says what it "
                "writes",
                o->name, t->address, t->driver);
        return 0;
    }
    if (w->tracker_container && !sees)
        return open_refuse(
            err, o->opened->hwpt ? FINDING_DEVICE_ATTACHED_UNTRACKED : FINDING_DEVICE_MDEV_UNTRACKED,
            MIG_ERR_NOT_SUPPORTED, 0, NULL,
            "device %s at %s (%s): container %s does not see what it writes, since %s", o->name, t->address,
            t->driver, o->container,
            o->opened->hwpt ? "it is attached without dirty tracking"
                            : "a mediated device on an iommufd goes around the IOMMU");
    if (!w->tracker_container && !w->tracker_all && !logs)
        return open_refuse(err, FINDING_DEVICE_NO_LOG, MIG_ERR_NOT_SUPPORTED, 0, NULL,
                           "device %s at %s (%s) %s", o->name, t->address, t->driver,
                           info ? "cannot log its DMA writes"
                                : "is opened without its state, and so without its log");
    return 0;
}

static int make_device(struct domain_open *o, struct mig_error *err)
{
    _cleanup_(device_unrefp) struct device *device = NULL;
    const struct kvfio_device_options options = {.fd = o->opened->fd,
                                                 .gone_fd = -1,
                                                 .timeout_usec = o->wanted.timeout_usec,
                                                 .calls = o->places ? o->places->calls : NULL};
    int r = kvfio_device_new(&device, o->name, &options, err);
    if (r == 0)
        r = settle_tracker(o, device->ops->info(device), err);
    if (r < 0)
        return r;
    struct domain_device dd = o->wanted;
    dd.device = device;
    r = domain_map_device(o->domain, &dd, err);
    if (r == 0)
        o->wanted.device = TAKE_PTR(device);
    return r;
}

int domain_open(struct domain_open *o, struct mig_error *err)
{
    struct open_target target;
    _cleanup_(open_space_unrefp) struct open_space *space = NULL;
    int r = open_target_find(&target, o->name, o->address, o->places, err);
    if (r == 0)
        r = have_space(o, &target, &space, err);
    if (r == 0)
        r = open_device_new(&o->opened, space, o->name, &target, &o->options, err);
    if (r == 0)
        r = o->with_state ? make_device(o, err) : settle_tracker(o, NULL, err);
    if (r == 0 && !domain_find_container(o->domain, o->container))
        r = make_container(o, &o->container_made, err);
    if (r < 0)
        domain_open_clear(o); /* here, where closing may take its time */
    return r;
}

/* ---- into the domain ---- */

static int insert_all_tracker(struct domain *d, const char *name, struct mig_error *err)
{
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    int r = tracker_new_all(&t, name, name, NULL, 0, err);
    if (r == 0)
        r = structure_add_tracker(d, t, NULL, err);
    if (r < 0)
        return r;
    t = NULL;
    return domain_renew_all_trackers(d, err); /* now it knows the memory */
}

/* The container that is there already. Its HWPT comes last, since it is not taken back. */
static int join_container(struct domain_open *o, struct mig_error *err)
{
    struct domain *d = o->domain;
    struct container *c = domain_find_container(d, o->container);
    if (!o->opened->space->iommufd)
        return 0;
    if (!o->opened->tracked) {
        c->partial |= o->opened->hwpt != 0;
        return 0;
    }
    int r = container_tells(c) ? 0 : domain_add_container_tracker(d, c, err);
    return r < 0 ? r : container_add_hwpt(c, o->opened->hwpt, err);
}

static int insert_parts(struct domain_open *o, struct mig_error *err)
{
    const struct domain_container dc = {.container = o->container_made, .automap = o->wanted.automap};
    int r = 0;
    if (o->container_made) {
        o->container_made->partial = o->opened->hwpt && !o->opened->tracked;
        r = domain_insert_container(o->domain, &dc, err);
    }
    if (r == 0 && o->with_state)
        r = structure_insert_device(o->domain, &o->wanted, err);
    else if (r == 0 && o->wanted.tracker_all)
        r = insert_all_tracker(o->domain, o->name, err);
    return r == 0 && !o->container_made ? join_container(o, err) : r;
}

int domain_insert_opened(struct domain_open *o, struct domain_opened **ret, struct mig_error *err)
{
    struct domain *d = o->domain;
    int r = domain_check_idle(d, err);
    if (r == 0)
        r = domain_open_check(o, err);
    if (r < 0)
        return r;
    bool maps = o->container_made ? o->container_made->maps : maps_memory(d, o->container);
    struct domain_opened *opened = reallocarray(d->opened, d->nopened + 1, sizeof *opened);
    if (!opened)
        return mig_error_oom(err);
    d->opened = opened;
    /* First, since whatever comes after it is told, and the saved form names it. */
    opened[d->nopened++] = (struct domain_opened){.device = open_device_ref(o->opened),
                                                  .with_state = o->with_state,
                                                  .map_memory = maps,
                                                  .tracker = o->wanted.tracker_all         ? "all"
                                                             : o->wanted.tracker_container ? "container"
                                                                                           : "device"};
    const struct structure_counts before = structure_count(d);
    r = insert_parts(o, err);
    if (r < 0) {
        structure_drop_newer(d, before);
        open_device_unref(d->opened[--d->nopened].device);
    }
    domain_tell(d);
    if (r == 0)
        *ret = &d->opened[d->nopened - 1];
    return r;
}

int domain_adopt_opened(struct domain *d, struct open_device *device, bool with_state, bool map_memory,
                        const char *tracker, struct mig_error *err)
{
    static const char *const words[] = {"device", "container", "all"};
    struct domain_opened *opened = reallocarray(d->opened, d->nopened + 1, sizeof *opened);
    if (!opened)
        return mig_error_oom(err);
    d->opened = opened;
    struct domain_opened *o = &opened[d->nopened];
    *o = (struct domain_opened){
        .device = device, .with_state = with_state, .map_memory = map_memory, .tracker = words[0]};
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (strcmp(words[i], tracker) == 0)
            o->tracker = words[i];
    int r = !with_state && strcmp(o->tracker, "all") == 0 ? insert_all_tracker(d, device->name, err) : 0;
    if (r == 0) {
        open_device_ref(device);
        d->nopened++;
    }
    return r;
}

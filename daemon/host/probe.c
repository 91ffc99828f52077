/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/probe.h"
#include "vfio/device.h"
#include "vfio/iommufd.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* What is open while a device is asked; closed in this order. */
struct opened {
    int device, group, container; /* container: a type1 container or an iommufd */
    bool has_devid;
    uint32_t devid;
};

static void close_all(struct opened *o)
{
    close_fd(&o->device);
    close_fd(&o->group);
    close_fd(&o->container);
}

static int failed(struct host_device *d, int r, const char *what)
{
    d->probe = r == -EBUSY ? HOST_PROBE_HELD : HOST_PROBE_FAILED;
    const char *hint =
        r == -EACCES && d->physical[0] ? " (its physical function is on VFIO too and wants a token)" : "";
    snprintf(d->probe_error, sizeof d->probe_error, "%s: %s%s", what, strerror(-r), hint);
    return r;
}

static int open_by_cdev(struct host_device *d, const struct host_tree *t, struct opened *o)
{
    struct kvfio_bind_iommufd bind = {.argsz = sizeof bind};
    o->container = tree_open(t, O_RDWR, "/dev/iommu");
    if (o->container < 0)
        return failed(d, o->container, "opening /dev/iommu");
    o->device = tree_open(t, O_RDWR, "/dev/vfio/devices/%s", d->cdev);
    if (o->device < 0)
        return failed(d, o->device, "opening its cdev");
    bind.iommufd = o->container;
    int r = kernel_ioctl(t->calls, o->device, KVFIO_DEVICE_BIND_IOMMUFD, &bind);
    if (r < 0)
        return failed(d, r, "binding its cdev to an iommufd");
    o->devid = bind.out_devid;
    o->has_devid = true;
    d->probe = HOST_PROBE_CDEV;
    return 0;
}

static int open_by_group(struct host_device *d, const struct host_tree *t, struct opened *o)
{
    o->group = tree_open(t, O_RDWR, "/dev/vfio/%s", d->group);
    if (o->group < 0)
        return failed(d, o->group, "opening its group");
    o->container = tree_open(t, O_RDWR, "/dev/vfio/vfio");
    if (o->container < 0)
        return failed(d, o->container, "opening /dev/vfio/vfio");
    int r = kernel_ioctl(t->calls, o->group, KVFIO_GROUP_SET_CONTAINER, &o->container);
    if (r < 0)
        return failed(d, r, "putting its group into a container");
    r = kernel_ioctl(t->calls, o->container, KVFIO_SET_IOMMU, (void *)(uintptr_t)KVFIO_TYPE1V2_IOMMU);
    if (r < 0)
        return failed(d, r, "making the container a type1 container");
    r = kernel_ioctl(t->calls, o->group, KVFIO_GROUP_GET_DEVICE_FD, d->address);
    if (r < 0)
        return failed(d, r, "getting it from its group");
    o->device = r;
    d->probe = HOST_PROBE_GROUP;
    return 0;
}

/* The driver says that it has a log, and the kernel cannot hand it out: see vfio/device-feature.c. */
static bool has_log_start(int fd, const struct kernel_calls *calls)
{
    struct kvfio_feature f = {.argsz = sizeof f,
                              .flags = KVFIO_FEATURE_LOG_START | KVFIO_FEATURE_SET | KVFIO_FEATURE_PROBE};
    return kernel_ioctl(calls, fd, KVFIO_DEVICE_FEATURE, &f) >= 0;
}

static void take_info(struct host_device *d, struct device *device, bool ask)
{
    const struct device_info *i = device->ops->info(device);
    d->migration = i->migration_flags ? FACT_YES : FACT_NO;
    d->migration_flags = i->migration_flags;
    d->device_log = i->dirty_log ? FACT_YES : FACT_NO;
    if (d->kind == HOST_MDEV) {
        d->vendor = i->pci_vendor;
        d->device = i->pci_device;
    }
    if (ask && i->has_stop_copy_size)
        d->has_state_bytes = device->ops->stop_copy_size(device, &d->state_bytes, NULL) == 0;
}

/* A mediated device does its DMA through the kernel: the IOMMU sees nothing of it, and a type1 container
 * knows every page exactly. For hardware it is the other way round. */
static void ask_container(struct host_device *d, const struct host_tree *t, const struct opened *o)
{
    bool tracks = false;
    if (d->kind == HOST_MDEV)
        d->container_log = probe_type1(t) ? FACT_YES : FACT_NO;
    else if (!o->has_devid)
        d->container_log = FACT_NO;
    else if (iommufd_device_tracks(o->container, t->calls, o->devid, &tracks) == 0)
        d->container_log = tracks ? FACT_YES : FACT_NO;
    else
        d->container_log = FACT_NO; /* before 6.7: nothing to ask with, and nothing there */
}

static bool may_be_opened(struct host_device *d)
{
    if (d->nholders) {
        d->probe = HOST_PROBE_HELD;
        return false;
    }
    d->probe = HOST_PROBE_IMPOSSIBLE;
    return d->on_vfio && !d->no_iommu && d->viable != FACT_NO && (d->cdev[0] || d->group[0]);
}

void probe_device(struct host_device *d, const struct host_tree *t)
{
    struct opened o = {.device = -1, .group = -1, .container = -1};
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_(device_unrefp) struct device *device = NULL;
    if (!may_be_opened(d))
        return;
    bool by_cdev = d->cdev[0] && (tree_has(t, "/dev/iommu") || !d->group[0]);
    if ((by_cdev ? open_by_cdev(d, t, &o) : open_by_group(d, t, &o)) == 0) {
        const struct kvfio_device_options options = {.fd = o.device, .gone_fd = -1, .calls = t->calls};
        if (kvfio_device_new(&device, d->address, &options, &err) < 0) {
            d->probe = HOST_PROBE_FAILED;
            snprintf(d->probe_error, sizeof d->probe_error, "%.199s", err.message);
        } else {
            take_info(d, device, true);
            d->log_unserved = d->device_log == FACT_NO && has_log_start(o.device, t->calls);
            ask_container(d, t, &o);
        }
        device = device_unref(device); /* before what it depends on */
    }
    close_all(&o);
}

void probe_known_device(struct host_device *d, struct device *device, bool busy)
{
    if (!kvfio_device_is(device))
        return;
    take_info(d, device, !busy);
    d->probe = HOST_PROBE_DOMAIN;
}

bool probe_type1(const struct host_tree *t)
{
    uint32_t ioas;
    _cleanup_close_ int fd = tree_open(t, O_RDWR, "/dev/vfio/vfio");
    if (fd < 0 ||
        kernel_ioctl(t->calls, fd, KVFIO_CHECK_EXTENSION, (void *)(uintptr_t)KVFIO_TYPE1V2_IOMMU) <= 0)
        return false;
    /* An iommufd says yes to that too. A container without a group refuses whatever else it is asked. */
    return iommufd_ioas_alloc(fd, t->calls, &ioas) < 0;
}

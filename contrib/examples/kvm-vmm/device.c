/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device.h"
#include "new-requests.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int complain(const struct device *d, const char *what)
{
    int error = errno;
    fprintf(stderr, "Device %s: %s: %s\n", d->name, what, strerror(error));
    return -error;
}

/* The last part of where a link in the device's folder leads. */
static int link_name(const char *sysfs, const char *link, char *ret, size_t size)
{
    char path[512], target[512];
    snprintf(path, sizeof path, "%s/%s", sysfs, link);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(ret, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
    return 0;
}

/* ---- by group ---- */

static int open_by_group(struct device *d, const char *sysfs, struct dma_space *space)
{
    char number[64], path[80];
    struct vfio_group_status status = {.argsz = sizeof status};
    int r = link_name(sysfs, "iommu_group", number, sizeof number);
    if (r < 0) {
        errno = -r;
        return complain(d, "it has no IOMMU group");
    }
    snprintf(path, sizeof path, "/dev/vfio/%s", number);
    int group = open(path, O_RDWR | O_CLOEXEC);
    if (group < 0)
        return complain(d, path);
    if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0 || !(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
        errno = EBUSY;
        r = complain(d, "its group is not viable: bind all of its devices to VFIO drivers");
    } else if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &space->fd) < 0) {
        r = complain(d, "its group cannot join the container");
    } else if (ioctl(space->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0 && errno != EINVAL &&
               errno != EBUSY) {
        r = complain(d, "the container cannot get its IOMMU"); /* the second group finds it set */
    } else {
        d->fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, d->name);
        r = d->fd < 0 ? complain(d, "it cannot be opened") : 0;
    }
    close(group); /* the device's descriptor keeps it in the container */
    return r;
}

/* ---- by cdev ---- */

static int find_cdev(struct device *d, const char *sysfs, char *ret, size_t size)
{
    char path[512];
    struct dirent *e;
    snprintf(path, sizeof path, "%s/vfio-dev", sysfs);
    DIR *dir = opendir(path);
    if (!dir)
        return complain(d, "it is not bound to a VFIO driver, or the kernel has no VFIO cdevs");
    ret[0] = '\0';
    while ((e = readdir(dir)))
        if (e->d_name[0] != '.')
            snprintf(ret, size, "/dev/vfio/devices/%s", e->d_name);
    closedir(dir);
    if (ret[0])
        return 0;
    errno = ENODEV;
    return complain(d, path);
}

/* A device whose DMA goes through the IOMMU gets a page table with dirty tracking. That is chosen now: one
 * that was made by attaching to the IOAS does not track. */
static int attach(struct device *d, uint32_t devid, const struct dma_space *space)
{
    struct iofd_hwpt_alloc hwpt = {
        .size = sizeof hwpt, .flags = IOFD_HWPT_DIRTY_TRACKING, .dev_id = devid, .pt_id = space->ioas};
    struct cdev_attach arg = {.argsz = sizeof arg, .pt_id = space->ioas};
    if (!d->mediated) {
        d->tracked = ioctl(space->fd, IOFD_HWPT_ALLOC, &hwpt) == 0;
        if (d->tracked)
            arg.pt_id = hwpt.out_hwpt_id;
        else
            fprintf(stderr, "Device %s: this IOMMU keeps no dirty bits (%s)\n", d->name, strerror(errno));
    }
    return ioctl(d->fd, CDEV_ATTACH, &arg) < 0 ? complain(d, "it cannot be attached to the IOAS") : 0;
}

static int open_by_cdev(struct device *d, const char *sysfs, struct dma_space *space)
{
    char path[300];
    int r = find_cdev(d, sysfs, path, sizeof path);
    if (r < 0)
        return r;
    d->fd = open(path, O_RDWR | O_CLOEXEC);
    if (d->fd < 0)
        return complain(d, path);
    struct cdev_bind bind = {.argsz = sizeof bind, .iommufd = space->fd};
    if (ioctl(d->fd, CDEV_BIND_IOMMUFD, &bind) < 0)
        return complain(d, "it cannot be bound to the iommufd");
    return attach(d, bind.out_devid, space);
}

/* ---- both ---- */

static bool has_feature(const struct device *d, uint32_t feature)
{
    struct vfio_device_feature arg = {.argsz = sizeof arg, .flags = VFIO_DEVICE_FEATURE_PROBE | feature};
    return ioctl(d->fd, VFIO_DEVICE_FEATURE, &arg) == 0;
}

int device_open(struct device *d, const char *sysfs, struct dma_space *space)
{
    char subsystem[64] = "";
    *d = (struct device){.fd = -1};
    const char *slash = strrchr(sysfs, '/');
    snprintf(d->name, sizeof d->name, "%s", slash ? slash + 1 : sysfs);
    link_name(sysfs, "subsystem", subsystem, sizeof subsystem);
    d->mediated = strcmp(subsystem, "mdev") == 0;
    int r = space->interface == DMA_LEGACY ? open_by_group(d, sysfs, space) : open_by_cdev(d, sysfs, space);
    if (r < 0)
        return r;
    d->migrates = has_feature(d, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION);
    return device_read(d, DEVICE_PCI_CONFIG, 0, &d->id, sizeof d->id);
}

static off_t region_offset(const struct device *d, unsigned region)
{
    struct vfio_region_info info = {.argsz = sizeof info, .index = region};
    return ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0 ? -errno : (off_t)info.offset;
}

int device_read(const struct device *d, unsigned region, uint64_t offset, void *data, size_t size)
{
    off_t base = region_offset(d, region);
    if (base < 0)
        return (int)base;
    ssize_t n = pread(d->fd, data, size, base + (off_t)offset);
    return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EIO;
}

int device_write(const struct device *d, unsigned region, uint64_t offset, const void *data, size_t size)
{
    off_t base = region_offset(d, region);
    if (base < 0)
        return (int)base;
    ssize_t n = pwrite(d->fd, data, size, base + (off_t)offset);
    return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EIO;
}

void device_close(struct device *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel VFIO device as an object: made, asked, dropped. */
#include "base/fds.h"
#include "vfio/device-private.h"
#include "vfio/sysfs.h"
#include <limits.h>
#include <string.h>

static const struct device_info *info(struct device *d)
{
    return &kvfio_of(d)->info;
}

static int gone_fd(struct device *d)
{
    return kvfio_of(d)->gone_fd;
}

static void destroy(struct device *d)
{
    struct kvfio_device *kd = kvfio_of(d);
    if (kd->log_on)
        kvfio_log_stop(d, NULL);
    close_fd(&kd->data_fd);
    close_fd(&kd->fd);
    close_fd(&kd->gone_fd);
    iova_map_free(d->map);
    kernel_bitmap_free(&kd->bits);
    free(kd->log_ranges);
    pthread_mutex_destroy(&kd->state_lock);
    pthread_mutex_destroy(&kd->map_lock);
    free(kd);
}

static const struct device_ops ops = {
    .info = info,
    .get_state = kvfio_get_state,
    .set_state = kvfio_set_state,
    .read_state = kvfio_read_state,
    .write_state = kvfio_write_state,
    .precopy_info = kvfio_precopy_info,
    .stop_copy_size = kvfio_stop_copy_size,
    .reset = kvfio_reset,
    .log_start = kvfio_log_start,
    .log_stop = kvfio_log_stop,
    .log_report = kvfio_log_report,
    .dma_map = kvfio_dma_map,
    .dma_unmap = kvfio_dma_unmap,
    .gone_fd = gone_fd,
    .destroy = destroy,
};

bool kvfio_device_is(const struct device *d)
{
    return d->ops == &ops;
}

bool kvfio_device_is_mediated(const struct device *d)
{
    return CONTAINER_OF(d, const struct kvfio_device, device)->mediated;
}

enum device_state kvfio_device_known_state(struct device *d)
{
    return (enum device_state)atomic_load(&kvfio_of(d)->state);
}

/* Where nobody tells, the driver stays unknown. */
static void learn_driver(struct kvfio_device *kd, const char *sysfs_path)
{
    char path[PATH_MAX];
    if (!sysfs_path && kvfio_sysfs_path(kd->fd, path, sizeof path) == 0)
        sysfs_path = path;
    if (!sysfs_path)
        return;
    kvfio_sysfs_driver(sysfs_path, kd->info.driver, sizeof kd->info.driver);
    kd->mediated = kvfio_sysfs_is_mediated(sysfs_path);
}

int kvfio_device_new(struct device **ret, const char *name, const struct kvfio_device_options *o,
                     struct mig_error *err)
{
    struct kvfio_device *kd = calloc(1, sizeof *kd);
    if (!kd)
        return mig_error_oom(err);
    int r = device_init(&kd->device, &ops, name);
    if (r < 0) {
        free(kd);
        return r == -EINVAL ? mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                                            "a device needs a name of 1 to %d bytes", DEVICE_NAME_MAX)
                            : mig_error_oom(err);
    }
    _cleanup_(device_unrefp) struct device *d = &kd->device;
    pthread_mutex_init(&kd->state_lock, NULL);
    pthread_mutex_init(&kd->map_lock, NULL);
    kd->data_fd = kd->gone_fd = -1;
    kd->calls = o->calls;
    kd->timeout_usec = o->timeout_usec ? o->timeout_usec : KVFIO_DEFAULT_TIMEOUT_USEC;
    kd->info.kind = "vfio";
    kd->fd = fd_dup(o->fd);
    if (kd->fd >= 0 && o->gone_fd >= 0)
        kd->gone_fd = fd_dup(o->gone_fd);
    if (kd->fd < 0 || (o->gone_fd >= 0 && kd->gone_fd < 0)) {
        int e = kd->fd < 0 ? -kd->fd : -kd->gone_fd;
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, e, "device %s: its descriptor: %s", name,
                             strerror(e));
    }
    r = kvfio_learn(kd, err);
    if (r < 0)
        return r;
    learn_driver(kd, o->sysfs_path);
    *ret = TAKE_PTR(d);
    return 0;
}

int kvfio_device_fd(struct device *d)
{
    return kvfio_device_is(d) ? kvfio_of(d)->fd : -1;
}

void kvfio_device_stop_leftover_log(struct device *d)
{
    struct kvfio_device *kd = kvfio_of(d);
    pthread_mutex_lock(&kd->map_lock);
    if (kd->info.dirty_log && !kd->log_on)
        kvfio_feature(kd, KVFIO_FEATURE_LOG_STOP | KVFIO_FEATURE_SET, NULL, 0);
    pthread_mutex_unlock(&kd->map_lock);
}

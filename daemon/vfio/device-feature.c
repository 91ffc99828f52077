/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DEVICE_FEATURE, and what all files of a device ask and say. */
#include "vfio/device-private.h"
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FEATURE_DATA_MAX 64u

int kvfio_feature(struct kvfio_device *kd, uint32_t flags, void *data, size_t size)
{
    struct {
        struct kvfio_feature head;
        uint8_t data[FEATURE_DATA_MAX] __attribute__((aligned(8)));
    } arg = {.head = {.argsz = (uint32_t)(sizeof arg.head + size), .flags = flags}};
    if (size > sizeof arg.data)
        return -E2BIG;
    if (size)
        memcpy(arg.data, data, size);
    int r = kernel_ioctl(kd->calls, kd->fd, KVFIO_DEVICE_FEATURE, &arg);
    if (r < 0)
        return r;
    if (size)
        memcpy(data, arg.data, size);
    return 0;
}

bool kvfio_feature_probe(struct kvfio_device *kd, uint32_t flags)
{
    return kvfio_feature(kd, flags | KVFIO_FEATURE_PROBE, NULL, 0) >= 0;
}

int kvfio_fail(struct kvfio_device *kd, int r, struct mig_error *err, const char *format, ...)
{
    char what[200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    enum mig_error_code code = r == -ENODEV                       ? MIG_ERR_DEVICE_GONE
                               : r == -ENOTTY || r == -EOPNOTSUPP ? MIG_ERR_NOT_SUPPORTED
                               : r == -ETIMEDOUT                  ? MIG_ERR_DEVICE_TIMEOUT
                                                                  : MIG_ERR_DEVICE;
    return mig_error_set(err, code, -r, "device %s: %s: %s", kd->device.name, what, strerror(-r));
}

int kvfio_check_holder(const struct kvfio_device *kd, struct mig_error *err)
{
    struct pollfd p = {.fd = kd->gone_fd, .events = POLLIN};
    if (p.fd < 0 || poll(&p, 1, 0) <= 0)
        return 0;
    return mig_error_set(err, MIG_ERR_DEVICE_GONE, 0,
                         "device %s is gone: the process that holds it has ended", kd->device.name);
}

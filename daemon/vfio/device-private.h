/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a kernel VFIO device share. */
#pragma once
#include "vfio/device.h"
#include "vfio/vfio-uapi.h"
#include <pthread.h>
#include <stdatomic.h>

struct kvfio_device {
    struct device device;
    const struct kernel_calls *calls;
    int fd, gone_fd;
    uint64_t timeout_usec;
    struct device_info info;
    bool mediated;
    uint64_t config_offset; /* of PCI configuration space in fd */

    pthread_mutex_t state_lock; /* migration state and its stream */
    _Atomic unsigned state;     /* enum device_state as last seen */
    int data_fd;                /* of the session that runs, -1: none */
    bool precopy_flags;         /* those of PRECOPY_INFO are valid in this session */
    bool data_refused;          /* what was written was refused: only a reset goes on from here */

    pthread_mutex_t map_lock; /* log and mappings */
    bool log_on;
    uint64_t log_page_bytes;
    struct kvfio_log_range *log_ranges; /* as announced, sorted */
    size_t nlog_ranges;
    struct kernel_bitmap bits;
};

static inline struct kvfio_device *kvfio_of(struct device *d)
{
    return CONTAINER_OF(d, struct kvfio_device, device);
}

/* device-feature.c: DEVICE_FEATURE with `size` bytes of data in and out. 0 or -errno; -ENOTTY: there is no
 * such feature. */
int kvfio_feature(struct kvfio_device *kd, uint32_t flags, void *data, size_t size);
/* Whether the feature exists with these operations (KVFIO_FEATURE_GET, _SET). */
bool kvfio_feature_probe(struct kvfio_device *kd, uint32_t flags);
/* "device NAME: WHAT: why", with a code that fits the errno. */
int kvfio_fail(struct kvfio_device *kd, int r, struct mig_error *err, const char *format, ...) _printf_(4, 5);
/* DeviceGone once the process that holds the device is dead: the kernel goes on answering, but for nobody. */
int kvfio_check_holder(const struct kvfio_device *kd, struct mig_error *err);

/* device-learn.c: fills in what the device is. */
int kvfio_learn(struct kvfio_device *kd, struct mig_error *err);

/* device-state.c */
int kvfio_get_state(struct device *d, enum device_state *ret, struct mig_error *err);
int kvfio_set_state(struct device *d, enum device_state state, enum device_state *ret_reached,
                    struct mig_error *err);
ssize_t kvfio_read_state(struct device *d, void *buf, size_t size, struct mig_error *err);
int kvfio_write_state(struct device *d, const void *buf, size_t size, struct mig_error *err);
int kvfio_precopy_info(struct device *d, struct device_precopy *ret, struct mig_error *err);
int kvfio_stop_copy_size(struct device *d, uint64_t *ret_bytes, struct mig_error *err);
int kvfio_reset(struct device *d, struct mig_error *err);

/* device-log.c */
int kvfio_log_start(struct device *d, uint64_t *page_bytes, struct mig_error *err);
int kvfio_log_stop(struct device *d, struct mig_error *err);
int kvfio_log_report(struct device *d, device_log_cb cb, void *userdata, struct mig_error *err);
int kvfio_dma_map(struct device *d, const struct iova_mapping *mapping, struct mig_error *err);
int kvfio_dma_unmap(struct device *d, uint64_t iova, uint64_t size_bytes, struct mig_error *err);

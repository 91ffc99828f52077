/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kernel VFIO device (from a group, or a cdev that is bound) as a struct device. Any thread; locks inside
 * serialise.
 *
 * migd does not map memory for it: whoever owns the container does, and tells migd, so dma_map and dma_unmap
 * keep the table of what the device sees and take the last bits of its log.
 */
#pragma once
#include "device/device.h"
#include "vfio/kernel.h"

#define KVFIO_DEFAULT_TIMEOUT_USEC (10 * UINT64_C(1000000))

struct kvfio_device_options {
    int fd;                 /* duplicated */
    int gone_fd;            /* readable once the holder is dead (a pidfd); duplicated; -1: none */
    uint64_t timeout_usec;  /* for a data stream that has nothing to say; 0: KVFIO_DEFAULT_TIMEOUT_USEC */
    const char *sysfs_path; /* the device's folder; NULL: what the kernel tells of the descriptor */
    const struct kernel_calls *calls; /* NULL: the real kernel */
};

/* Asks the kernel what the device can do; each question is answered at once. A device without migration is
 * made too: its migration_flags are 0. */
int kvfio_device_new(struct device **ret, const char *name, const struct kvfio_device_options *options,
                     struct mig_error *err);
/* True for devices made by kvfio_device_new. */
bool kvfio_device_is(const struct device *d);
/* Whether its driver writes memory without the IOMMU (mdev). False where nobody told what is behind the
 * descriptor. */
bool kvfio_device_is_mediated(const struct device *d);
/* As last seen; nobody is asked. */
enum device_state kvfio_device_known_state(struct device *d);
/* Its descriptor; borrowed. -1 for another kind of device. */
int kvfio_device_fd(struct device *d);
/* Turns a log off that a process before this one may have left on. */
void kvfio_device_stop_leftover_log(struct device *d);

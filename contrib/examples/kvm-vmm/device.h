/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A passthrough device by its sysfs folder, opened by group or by cdev. It must be bound to its VFIO driver
 * already. Main thread opens; afterwards the thread that drives it.
 */
#pragma once
#include "dma-space.h"
#include <stddef.h>

#define DEVICES_MAX       4u
#define DEVICE_BAR0       0u
#define DEVICE_PCI_CONFIG 7u

struct device {
    int fd;
    char name[64]; /* the last part of its path */
    uint32_t id;   /* PCI device << 16 | vendor */
    bool mediated; /* its driver writes memory; the IOMMU does not see it */
    bool migrates; /* it has migration states: migd moves it */
    bool tracked;  /* the IOMMU keeps dirty bits for it */
};

/* Prints why it failed. */
int device_open(struct device *d, const char *sysfs, struct dma_space *space);
/* Registers; 0 or -errno. */
int device_read(const struct device *d, unsigned region, uint64_t offset, void *data, size_t size);
int device_write(const struct device *d, unsigned region, uint64_t offset, const void *data, size_t size);
void device_close(struct device *d);

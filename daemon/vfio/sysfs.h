/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sysfs knows of the device behind a VFIO descriptor. No state, any thread; both read small files that
 * the kernel makes. */
#pragma once
#include "base/util.h"
#include <stdio.h>

/* The device's folder in sysfs, as the kernel tells in the descriptor's fdinfo, or by the number of a cdev.
 * -ENODATA: neither (a group's device with an older kernel, or no VFIO device). */
int kvfio_sysfs_path(int fd, char *buf, size_t size);
/* The same from an fdinfo that is open. */
int kvfio_sysfs_path_from(FILE *fdinfo, char *buf, size_t size);
/* Name of the driver that is bound to the device in this folder; -ENOENT: none. */
int kvfio_sysfs_driver(const char *path, char *buf, size_t size);
/* Whether it is a mediated device. */
bool kvfio_sysfs_is_mediated(const char *path);

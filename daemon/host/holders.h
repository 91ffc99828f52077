/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which processes have a VFIO device: found in /proc by descriptors of its group (/dev/vfio/N) and its cdev
 * (/dev/vfio/devices/vfioN), and of the device itself where the kernel writes its sysfs path into fdinfo (it
 * does since about 7.0). A process that closed its group and has only the device is seen on such a kernel
 * alone.
 *
 * One pass over /proc for all devices. Any thread but the main one.
 */
#pragma once
#include "host/facts.h"
#include "host/tree.h"

#define HOLDERS_MAX 64u /* that are told of one device */

/* Fills the holders of all devices. *ret_hidden: processes that may not be looked into. 0 or -ENOMEM. */
int holders_find(struct host_device *devices, size_t n, const struct host_tree *t, size_t *ret_hidden);
/* The address (or UUID) of the device behind a descriptor of process pid, "self" for this one; -ENODATA where
 * the kernel does not say. */
int holders_device_of(const struct host_tree *t, const char *pid, int fd, char *ret, size_t size);

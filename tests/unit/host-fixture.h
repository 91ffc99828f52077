/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host made of files: sysfs, /proc, /dev and /lib/modules below a folder of its own, with the links that
 * the kernel would have. */
#pragma once
#include "host/tree.h"

struct host_tree fixture_new(void);
/* Removes it, and the fixture's memory. */
void fixture_free(struct host_tree *t);
void fixture_put(const struct host_tree *t, const char *text, const char *format, ...) _printf_(3, 4);
void fixture_put_bytes(const struct host_tree *t, const void *data, size_t size, const char *path);
void fixture_link(const struct host_tree *t, const char *target, const char *format, ...) _printf_(3, 4);
void fixture_mkdir(const struct host_tree *t, const char *format, ...) _printf_(2, 3);

/* A PCI function. driver "": none; group -1: none. ids: "15b3:101e". */
void fixture_function(const struct host_tree *t, const char *address, const char *ids, const char *class,
                      const char *driver, int group);
/* A mediated device below a parent. */
void fixture_mdev(const struct host_tree *t, const char *uuid, const char *parent, const char *driver,
                  int group);
/* What a VFIO driver adds to a bound device: its class device, and with dev the cdev. folder: of the device.
 */
void fixture_cdev(const struct host_tree *t, const char *folder, const char *name, bool dev);
/* The kernel's release, and VFIO: containers; iommufd too. */
void fixture_kernel(const struct host_tree *t, bool vfio, bool iommufd);
void fixture_process(const struct host_tree *t, const char *pid, const char *command);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that migd connects to, and the clients that use them through migd: opening a vfio-user device for a
 * domain, and finding or registering the memory that a pass-through client maps.
 */
#pragma once
#include "domain/domain.h"

/* What the callbacks of one device are given; lives as long as the domain, since the device's threads use it.
 */
struct domain_client {
    struct domain_client *next;
    struct domain *domain;
    char device[DOMAIN_NAME_MAX + 1];
};

/* Main thread. */
int domain_client_new(struct domain_client **ret, struct domain *d, const char *device,
                      struct mig_error *err);
/* For a device that did not come about, or is gone. */
void domain_client_free(struct domain_client *c);

/* BLOCKS: connects (wanted->socket, or fd when that is NULL), asks what the device is, maps the domain's
 * memory into it. For a helper, during a job of the domain. wanted->device is ignored; *ret_device is the
 * caller's reference. */
int domain_open_device(struct domain_client *client, const struct domain_device *wanted, int fd,
                       struct device **ret_device, struct mig_error *err);

/* May BLOCK: whether fd can be guest memory at all. A file of a user space file system could keep whoever
 * touches it waiting for ever. */
int domain_check_memory_fd(int fd, const char *name, struct mig_error *err);

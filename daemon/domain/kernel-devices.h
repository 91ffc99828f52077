/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel VFIO devices and containers of a domain. What is kept here is what the devices see; their owner maps
 * it, or migd does where it opened them (opened.h) and was asked to. Threads as for domain_map_* and
 * domain_insert_* in domain.h.
 */
#pragma once
#include "domain/domain.h"

/* May BLOCK in a driver; for a helper, during a job. fd and pidfd (or -1) are borrowed. wanted->device is the
 * caller's reference afterwards, and wanted->tracker_auto is settled. */
int domain_open_kernel_device(struct domain *d, const char *name, struct domain_device *wanted, int fd,
                              int pidfd, struct mig_error *err);

/* Who says what the device writes: settles wanted->tracker_auto, and refuses what would lose writes. */
int domain_settle_tracking(struct domain *d, struct device *device, struct domain_device *wanted,
                           struct mig_error *err);
/* A mediated device whose writes no container of the domain hears of: only type1 does. */
bool domain_containers_miss(const struct domain *d, struct device *device);

/* containers.c */
/* For a helper: all memory with IOVAs, if automap. */
int domain_map_container(struct domain *d, const struct domain_container *c, struct mig_error *err);
/* Main thread: takes the container and makes its tracker, which bears its name, if it can tell anything. */
int domain_insert_container(struct domain *d, const struct domain_container *c, struct mig_error *err);
/* For one that could not tell anything before. */
int domain_add_container_tracker(struct domain *d, struct container *c, struct mig_error *err);
struct container *domain_find_container(struct domain *d, const char *name);

/* For structure-*.c and domain.c. */
int domain_map_memory_into_containers(struct domain *d, struct region *region, const uint64_t *iovas,
                                      size_t niovas, struct mig_error *err);
bool domain_containers_map(const struct domain *d, const struct region *region);
void domain_drop_container(struct domain_container *c);
void domain_clear_containers(struct domain *d);

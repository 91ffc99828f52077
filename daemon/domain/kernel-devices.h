/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel VFIO devices and containers of a domain. migd maps nothing for them: their owner does, and what is
 * kept here is what the devices see. Threads as for domain_map_* and domain_insert_* in domain.h.
 */
#pragma once
#include "domain/domain.h"

/* May BLOCK in a driver; for a helper, during a job. fd and pidfd (or -1) are borrowed. wanted->device is the
 * caller's reference afterwards, and wanted->tracker_auto is settled. */
int domain_open_kernel_device(struct domain *d, const char *name, struct domain_device *wanted, int fd,
                              int pidfd, struct mig_error *err);

/* For a helper: all memory with IOVAs, if automap. */
int domain_map_container(struct domain *d, const struct domain_container *c, struct mig_error *err);
/* Main thread: takes the container and makes its tracker, which bears its name. */
int domain_insert_container(struct domain *d, const struct domain_container *c, struct mig_error *err);
struct container *domain_find_container(struct domain *d, const char *name);

/* For structure.c. */
int domain_map_memory_into_containers(struct domain *d, struct region *region, const uint64_t *iovas,
                                      size_t niovas, struct mig_error *err);
bool domain_containers_map(const struct domain *d, const struct region *region);
void domain_clear_containers(struct domain *d);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parts of a domain that a test can give any property: a container, a tracker, a mediated kernel device. */
#pragma once
#include "domain/domain.h"
#include "vfio/container.h"

struct fake_container {
    struct container base;
    bool says_everything;
    int track_rc; /* turning tracking on fails with this */
};
/* kind: "type1" or "iommufd". The caller drops it with container_unref(&ret->base). */
struct fake_container *fake_container_new(const char *kind, const char *name);
/* It, and the tracker that comes with it; memory with IOVAs is mapped if mapped. */
void fake_container_add(struct domain *d, struct fake_container *c, bool mapped);

/* A tracker that cannot be started (start_rc < 0), or has this granularity. */
void fake_tracker_add(struct domain *d, const char *name, int start_rc, uint64_t granularity_bytes);

/* A kernel device whose folder in sysfs, made below dir, says that it is a mediated one. */
struct device *fake_mdev_new(const char *name, const char *dir);

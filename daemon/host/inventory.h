/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every VFIO-capable device of a host, with what there is to know of it and a verdict. Listed are mediated
 * devices, and PCI functions that are bound to VFIO, are virtual functions, or have a variant driver in this
 * kernel; with `all` every function that has an IOMMU group; or those that are named.
 *
 * inventory_take blocks (sysfs, /proc, devices that wake up) and is for a helper thread; one runs at a time,
 * others wait. Nothing of the host is changed.
 */
#pragma once
#include "host/facts.h"
#include "host/tree.h"

struct device;

/* A kernel VFIO device that a domain of this daemon has. */
struct inventory_known {
    const char *domain, *name;
    struct device *device; /* referenced by the caller */
    bool busy;             /* a migration runs: it is not asked */
};

struct inventory_options {
    struct host_tree tree;
    bool all, probe;
    const char *const *only; /* addresses; none: what is listed as above */
    size_t nonly;
    const struct inventory_known *known;
    size_t nknown;
    uint64_t probe_usec; /* no device is opened any more after this; 0: INVENTORY_PROBE_USEC */
};
#define INVENTORY_PROBE_USEC UINT64_C(60000000)

struct inventory {
    struct host_device *devices; /* by address, PCI first */
    size_t count;
    struct host_facts host;
    struct findings findings; /* of the host */
};

/* NoSuchObject for an address that is not there. */
int inventory_take(struct inventory **ret, const struct inventory_options *o, struct mig_error *err);
struct inventory *inventory_free(struct inventory *i);
DEFINE_CLEANUP(struct inventory *, inventory_free)

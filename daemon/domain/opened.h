/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that migd opened by itself for a domain. Their descriptors are held as long as the domain is there;
 * a VMM gets duplicates, and a VMM that starts again gets the same ones.
 *
 * Main thread, but for domain_open, which BLOCKS (drivers reset devices, memory is pinned) and belongs on a
 * helper, during a job of the domain.
 */
#pragma once
#include "domain/domain.h"
#include "vfio/open.h"

#define DOMAIN_OPEN_DEFAULT_CONTAINER "dma"

enum domain_interface { DOMAIN_INTERFACE_AUTO, DOMAIN_INTERFACE_IOMMUFD, DOMAIN_INTERFACE_LEGACY };

struct domain_opened {
    struct open_device *device;
    bool with_state;     /* it is a device of the domain, too */
    bool map_memory;     /* migd maps the memory of the domain into its container */
    const char *tracker; /* "device", "container", "all" */
};

/* One opening. */
struct domain_open {
    struct domain *domain;
    char name[DOMAIN_NAME_MAX + 1];
    char address[OPEN_PATH_MAX];
    char container[DOMAIN_NAME_MAX + 1];
    enum domain_interface interface;
    enum open_wish split, map_memory; /* AS_POSSIBLE: not said; a container that exists decides, else no */
    bool with_state;                  /* move its migration state; else it is only opened and tracked */
    struct open_device_options options;
    struct domain_device wanted;      /* trackers, precopy, timeout, automap; its device is made here */
    const struct open_places *places; /* NULL: the host's */
    /* What domain_open made. */
    struct open_device *opened;
    struct container *container_made; /* NULL: the container is there already */
};

/* Whether names are free and options fit together, before anything is opened. */
int domain_open_check(const struct domain_open *o, struct mig_error *err);
int domain_open(struct domain_open *o, struct mig_error *err);
/* After it: container, device and trackers into the domain. *ret is good until the next one. */
int domain_insert_opened(struct domain_open *o, struct domain_opened **ret, struct mig_error *err);
void domain_open_clear(struct domain_open *o);

struct domain_opened *domain_find_opened(const struct domain *d, const char *name);
/* By the name of its container. */
struct open_space *domain_find_open_space(const struct domain *d, const char *container);
/* Whether what is asked for is what is held already, so that duplicates answer it. */
int domain_opened_matches(const struct domain_opened *held, const struct domain_open *o,
                          struct mig_error *err);
/* For the restoration: takes the device; tracker as in struct domain_opened. */
int domain_adopt_opened(struct domain *d, struct open_device *device, bool with_state, bool map_memory,
                        const char *tracker, struct mig_error *err);
/* For domain.c, after devices and containers. */
void domain_clear_opened(struct domain *d);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain: a registered workload. Its memory, devices with their DMA address spaces, trackers and VMM controller.
 *
 * Owned by the main thread. While a migration runs (domain_borrow .. domain_give_back) its worker may read everything here, and structure (regions, devices, trackers, controller) does not change:
 * the main thread refuses such changes with Busy. DMA mappings may come and go at any time.
 */
#pragma once
#include "base/error.h"
#include "device/device.h"
#include "dirty/tracker.h"
#include "memory/region.h"
#include "migd-states.h"
#include "vmm/controller.h"

#define DOMAIN_NAME_MAX 63
#define DOMAIN_REGIONS_MAX 1024u
#define DOMAIN_DEVICES_MAX 256u
#define DOMAIN_IOVAS_MAX 16u

struct domain_memory {
    struct region *region;
    uint64_t iova[DOMAIN_IOVAS_MAX]; /* where every device that is mapped automatically sees it */
    size_t niovas;
};

struct domain_device {
    struct device *device;
    char *socket; /* path, NULL when it came as a descriptor */
    char *listen; /* path or NULL */
    uint64_t timeout_usec;
    uint64_t log_page_bytes;
    bool use_precopy;
    bool automap;
    bool tracker_all; /* its log is not to be used */
};

struct domain {
    unsigned refs;
    char name[DOMAIN_NAME_MAX + 1];
    bool incoming;
    bool saved; /* has a saved form that is kept up to date */
    enum domain_state state;
    char problem[400];
    struct domain_memory *memory; size_t nmemory;
    struct domain_device *devices; size_t ndevices;
    struct tracker **trackers; size_t ntrackers; /* device trackers included, in order of registration */
    struct controller *controller; /* never NULL */
    struct json_object *controller_saved; /* how to make the controller again: {"type", ...} */
    struct json_object **tracker_saved;   /* same order as trackers; NULL for device trackers */
    bool borrowed;
    char migration_id[40]; /* the one that runs, or "" */
    /* News for the bus face; main thread. */
    void (*changed)(struct domain *d, void *userdata);
    void *changed_userdata;
};

int domain_new(struct domain **ret, const char *name, bool incoming, struct mig_error *err);
struct domain *domain_ref(struct domain *d);
struct domain *domain_unref(struct domain *d);
DEFINE_CLEANUP(struct domain *, domain_unref)
int domain_name_check(const char *name, struct mig_error *err);

/* Main thread. Setting state and problem tells `changed` and rewrites the saved form. */
void domain_set_state(struct domain *d, enum domain_state state, const char *problem);
const char *domain_state_to_string(enum domain_state s);

/* Structure. All refuse with Busy while borrowed, with Exists for a name twice, with LimitExceeded. References are taken, arrays grow. */
int domain_add_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas, struct mig_error *err);
/* Takes the device and, unless tracker_all, makes its device tracker; maps all memory with IOVAs if automap. Blocks (DMA_MAP per mapping): call it from a helper thread
 * while nobody else changes the domain. */
int domain_add_device(struct domain *d, const struct domain_device *device, struct mig_error *err);
int domain_add_tracker(struct domain *d, struct tracker *tracker, struct json_object *saved, struct mig_error *err);
int domain_set_controller(struct domain *d, struct controller *c, struct json_object *saved, struct mig_error *err);
struct domain_memory *domain_find_memory(struct domain *d, const char *name);
struct domain_device *domain_find_device(struct domain *d, const char *name);

/* One migration at a time: Busy names the other. */
int domain_borrow(struct domain *d, const char *migration_id, struct mig_error *err);
void domain_give_back(struct domain *d);

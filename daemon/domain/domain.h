/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain: a registered workload. Its memory, devices with their DMA address spaces, trackers and VMM
 * controller.
 *
 * Owned by the main thread. While a migration runs (domain_borrow .. domain_give_back) its worker may read
 * everything here, and structure (regions, devices, trackers, controller) does not change: such changes are
 * refused with Busy. DMA mappings may come and go at any time.
 *
 * Two more threads come near. A helper that opens and maps a device for the main thread: meanwhile the domain
 * has a job, which refuses the same changes. And the pass-through server of a device, whose client may bring
 * new memory: that is why the memory table has a lock and never moves. Entries are only added under the lock
 * (any thread), and removed under it by the main thread.
 */
#pragma once
#include "base/error.h"
#include "device/device.h"
#include "dirty/tracker.h"
#include "memory/region.h"
#include "migd-states.h"
#include "vmm/controller.h"
#include <pthread.h>

#define DOMAIN_NAME_MAX       63
#define DOMAIN_REGIONS_MAX    1024u
#define DOMAIN_DEVICES_MAX    256u
#define DOMAIN_TRACKERS_MAX   1024u
#define DOMAIN_IOVAS_MAX      16u
#define DOMAIN_CONTAINERS_MAX 64u

struct container;
struct domain_client;
struct domain_opened;
struct json_object;
struct loop;
struct loop_io;
struct domain;

struct domain_memory {
    struct region *region;
    uint64_t iova[DOMAIN_IOVAS_MAX]; /* where every device that is mapped automatically sees it */
    size_t niovas;
    uint64_t file_dev, file_ino; /* of its file, to know it again by a descriptor */
    bool from_client; /* came with a DMA_MAP of a pass-through client; goes when nothing maps it any more */
};

struct domain_device {
    struct device *device;
    char *socket; /* path, NULL when it came as a descriptor */
    char *listen; /* path or NULL */
    uint64_t timeout_usec;
    uint64_t log_page_bytes;
    bool use_precopy;
    bool automap;
    bool tracker_all;       /* its log is not to be used */
    bool tracker_container; /* a container of the domain says what it writes; it has no tracker of its own */
    bool tracker_auto;      /* its log if it has one, else tracker_container; settled when it is opened */
    struct loop_io *gone_watch;
};

/* A kernel DMA address space that the owner of the devices made. */
struct domain_container {
    struct container *container;
    bool automap;
    struct loop_io *gone_watch;
};

struct domain {
    unsigned refs; /* atomic */
    char name[DOMAIN_NAME_MAX + 1];
    bool incoming;
    bool saved; /* has a saved form that is kept up to date */
    char *saved_path;
    struct loop *loop; /* borrowed; NULL in tests and at the end: no news from devices then */
    enum domain_state state;
    char problem[400];
    char incomplete[400]; /* what a restoration could not bring back: until it is released such a domain does
                             not rest as anything but broken */
    struct domain_memory *memory; /* DOMAIN_REGIONS_MAX entries that never move */
    size_t nmemory;
    struct domain_device *devices;
    size_t ndevices;
    struct domain_container *containers;
    size_t ncontainers;
    struct domain_opened *opened; /* by migd itself */
    size_t nopened;
    struct tracker **trackers; /* device trackers included, in order of registration */
    size_t ntrackers;
    struct controller *controller;        /* never NULL */
    struct json_object *controller_saved; /* how to make the controller again: {"type", ...} */
    struct json_object **tracker_saved;   /* same order as trackers; NULL for those that come with a device */
    bool borrowed;
    char job[96];                  /* what a helper does now, or "" */
    char migration_id[40];         /* the one that runs, or "" */
    pthread_mutex_t lock;          /* memory, borrowed */
    struct domain_client *clients; /* what the pass-through callbacks of devices are given */
    /* News for the bus face; main thread. */
    void (*changed)(struct domain *d, void *userdata);
    void *changed_userdata;
};

/* State running, or waiting for an incoming one; controller none. */
int domain_new(struct domain **ret, const char *name, bool incoming, struct mig_error *err);
struct domain *domain_ref(struct domain *d);
/* The last one drops devices (their connections end) and memory; it may run on any thread that does not
 * belong to one of the devices. */
struct domain *domain_unref(struct domain *d);
DEFINE_CLEANUP(struct domain *, domain_unref)
int domain_name_check(const char *name, struct mig_error *err);
/* The same rule for names inside a domain; what: "memory", "device", "tracker". */
int domain_part_name_check(const char *what, const char *name, struct mig_error *err);

/* Main thread. Setting state and problem tells `changed` and rewrites the saved form. */
void domain_set_state(struct domain *d, enum domain_state state, const char *problem);
/* Something that the bus face shows or the saved form holds has changed. */
void domain_tell(struct domain *d);
const char *domain_state_to_string(enum domain_state s);

/* Structure. All refuse with Busy while borrowed or while a job runs, with Exists for a name twice, with
 * LimitExceeded. References are taken, arrays grow.
 *
 * domain_add_* do all of it and may block on devices (DMA_MAP for each mapping). Whoever may not block has a
 * helper do the first half, domain_map_*, during a job, and does the second, domain_insert_*, on the main
 * thread after it. */
int domain_add_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                      struct mig_error *err);
/* Checks IOVAs against the other memory and maps the region into the devices that are mapped automatically;
 * undone on failure. */
int domain_map_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                      struct mig_error *err);
int domain_insert_memory(struct domain *d, struct region *region, const uint64_t *iovas, size_t niovas,
                         struct mig_error *err);

/* Takes the device and makes its tracker: its own log, or with tracker_all one that says everything; maps all
 * memory with IOVAs if automap. */
int domain_add_device(struct domain *d, const struct domain_device *device, struct mig_error *err);
int domain_map_device(struct domain *d, const struct domain_device *device, struct mig_error *err);
int domain_insert_device(struct domain *d, const struct domain_device *device, struct mig_error *err);

/* Takes the tracker over, unless it fails. */
int domain_add_tracker(struct domain *d, struct tracker *tracker, struct json_object *saved,
                       struct mig_error *err);
int domain_set_controller(struct domain *d, struct controller *c, struct json_object *saved,
                          struct mig_error *err);
struct domain_memory *domain_find_memory(struct domain *d, const char *name);
struct domain_device *domain_find_device(struct domain *d, const char *name);
/* A device without peer-to-peer quiet states, NULL when all have them (R4). */
struct domain_device *domain_find_without_p2p(struct domain *d);
/* Whether the device is in PRE_COPY while rounds run. */
bool domain_device_precopies(const struct domain_device *d);
struct tracker *domain_find_tracker(struct domain *d, const char *name);

/* Main thread. 0, or Busy that says with what. */
int domain_check_idle(struct domain *d, struct mig_error *err);
/* A helper works for this domain: "AddUserDevice nic0". */
int domain_begin_job(struct domain *d, const char *job, struct mig_error *err);
void domain_end_job(struct domain *d);

/* Main thread: from now on a device or the holder of a container that dies while nothing runs makes the
 * domain broken. Once more after such were added. */
void domain_watch_devices(struct domain *d);
/* Main thread: no more news from devices; before the last reference is dropped on another thread. */
void domain_stop_watching(struct domain *d);

/* One migration at a time: Busy names the other. */
int domain_borrow(struct domain *d, const char *migration_id, struct mig_error *err);
void domain_give_back(struct domain *d);
/* Any thread. */
bool domain_is_borrowed(struct domain *d);

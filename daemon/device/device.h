/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a passthrough device can do for a migration, whatever it is underneath: an ops table that vfio-user
 * (and kernel VFIO) fill. Every operation blocks its caller at most for the device's command timeout, may be
 * called from any thread, and is serialised inside by the implementation. No operation leaves the daemon's
 * main thread waiting: workers call these.
 */
#pragma once
#include "base/error.h"
#include "device/state.h"
#include "memory/iova-map.h"

#define DEVICE_NAME_MAX 63

struct device;

struct device_info {
    const char *kind;         /* "vfio-user", "vfio" */
    char driver[64];          /* the kernel's name of the driver; "": none, or not known */
    uint32_t migration_flags; /* DEVICE_MIGRATION_*; 0: cannot migrate */
    bool dirty_log;           /* has DMA logging */
    bool resettable;
    uint16_t pci_vendor, pci_device, pci_subvendor, pci_subdevice; /* 0 when not PCI or unreadable */
    uint8_t pci_revision;
    uint32_t num_regions, num_irqs;
    bool has_stop_copy_size; /* stop_copy_size() is answered */
    bool has_precopy_info;   /* precopy_info() is answered */
    bool tells_renewal;      /* and says when initial data came anew (device_precopy.renewed) */
};

/* What a device in PRE_COPY still has to say. */
struct device_precopy {
    /* Data that is best read before PRE_COPY is left: it takes the destination long to load. Falls to 0. */
    uint64_t initial_bytes;
    uint64_t dirty_bytes; /* what it changed since; grows and falls */
    bool renewed; /* new initial data appeared since the last question, and initial_bytes began anew */
};

/* Called for each piece of a log report: bit n of words is iova + n * page_bytes. words is valid during the
 * call only. */
typedef void (*device_log_cb)(void *userdata, const struct iova_mapping *mapping, uint64_t page_bytes,
                              const uint64_t *words, uint64_t nbits);

struct device_ops {
    /* Facts found when the device was attached; never blocks. */
    const struct device_info *(*info)(struct device *d);
    /* Asks the device. */
    int (*get_state)(struct device *d, enum device_state *ret, struct mig_error *err);
    /* Brings the device to `state`, through whatever lies between. On failure the device is where
     * *ret_reached says (asked from the device; DEVICE_STATE_ERROR if it does not answer). ret_reached may be
     * NULL. */
    int (*set_state)(struct device *d, enum device_state state, enum device_state *ret_reached,
                     struct mig_error *err);
    /* Saving (PRE_COPY*, STOP_COPY): up to size bytes. 0: in STOP_COPY the end of the stream. -ENOMSG: in
     * PRE_COPY nothing at the moment. Other negatives are errors (err filled). */
    ssize_t (*read_state)(struct device *d, void *buf, size_t size, struct mig_error *err);
    /* Resuming: all of it. */
    int (*write_state)(struct device *d, const void *buf, size_t size, struct mig_error *err);
    /* PRE_COPY counters; -EOPNOTSUPP where the protocol has no such question (vfio-user). */
    int (*precopy_info)(struct device *d, struct device_precopy *ret, struct mig_error *err);
    /* Bytes that STOP_COPY is expected to yield; -EOPNOTSUPP as above. */
    int (*stop_copy_size)(struct device *d, uint64_t *ret_bytes, struct mig_error *err);
    int (*reset)(struct device *d, struct mig_error *err);
    /* DMA logging. page_bytes: wish in, the device's choice out. */
    int (*log_start)(struct device *d, uint64_t *page_bytes, struct mig_error *err);
    int (*log_stop)(struct device *d, struct mig_error *err);
    /* Reads and clears the log of every mapping, one report per mapping. An error means that the log cannot
     * be trusted. */
    int (*log_report)(struct device *d, device_log_cb cb, void *userdata, struct mig_error *err);
    /* DMA mappings of the device's address space. A range that leaves while the log is on has its last bits
     * taken in the same step and marked in the regions (R6). */
    int (*dma_map)(struct device *d, const struct iova_mapping *mapping, struct mig_error *err);
    int (*dma_unmap)(struct device *d, uint64_t iova, uint64_t size_bytes, struct mig_error *err);
    /* Readable (POLLIN) once the device is known to be dead; -1 when there is no such thing. Borrowed. */
    int (*gone_fd)(struct device *d);
    /* Drops the connection and everything held. Called by the last device_unref. */
    void (*destroy)(struct device *d);
};

/* Implementations embed this as their first member and call device_init. */
struct device {
    const struct device_ops *ops;
    unsigned refs; /* atomic */
    char name[DEVICE_NAME_MAX + 1];
    struct iova_map *map; /* its DMA address space; owned */
};

int device_init(struct device *d, const struct device_ops *ops, const char *name);
struct device *device_ref(struct device *d);
struct device *device_unref(struct device *d);
DEFINE_CLEANUP(struct device *, device_unref)

static inline uint32_t device_migration_flags(struct device *d)
{
    return d->ops->info(d)->migration_flags;
}

/* It did not say what it is: a server whose device was stopped when it was attached. A reset makes it speak.
 */
static inline bool device_is_silent(struct device *d)
{
    const struct device_info *info = d->ops->info(d);
    return info->num_regions == 0 && info->num_irqs == 0 && info->migration_flags;
}

/* The recovery ladder of rule R12 after a failed transition from -> to: the recovery state, then a reset,
 * else the device is broken. Writes what was tried into steps (a sentence). 0: the device is in *ret_state.
 * 1: the same, but it took a reset, and what the device held is lost. */
int device_recover(struct device *d, enum device_state from, enum device_state to,
                   enum device_state *ret_state, char *steps, size_t steps_size, struct mig_error *err);

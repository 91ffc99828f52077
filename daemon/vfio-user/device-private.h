/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of a vfio-user device, shared by the files that implement its operations. */
#pragma once
#include "vfio-user/connection.h"
#include "vfio-user/device.h"
#include <pthread.h>

struct vfu_passthrough;

struct vfu_device {
    struct device device; /* first */
    struct vfu_conn *conn;
    struct vfu_dma dma;
    char path[108];

    /* Facts. Filled at attach; when the device would not tell all then, info[1] is filled later and published
     * once. */
    struct device_info info[2];
    atomic_uint info_index;
    pthread_mutex_t info_lock;

    /* Mappings and log against each other: a report must not meet an unmap. Held around commands. */
    pthread_mutex_t map_lock;
    bool log_on;
    uint64_t log_page_bytes;
    struct iova_map
        *unsent; /* of device.map: what a stopped device would not take yet; see vfu_send_late_maps */

    /* What is known of the state, and who waits for it. Never held around a command. */
    pthread_mutex_t state_lock;
    pthread_cond_t state_changed;
    enum device_state state;
    bool in_transition; /* a set_state away from running is under way */
    bool client_busy;   /* a command of the pass-through client is being carried out */
    bool quiesced;
    bool closing;

    struct vfu_passthrough *passthrough; /* or NULL */
};

static inline struct vfu_device *vfu_of(struct device *d)
{
    return (struct vfu_device *)d;
}

/* state.c */
int vfu_get_state(struct device *d, enum device_state *ret, struct mig_error *err);
int vfu_set_state(struct device *d, enum device_state state, enum device_state *ret_reached,
                  struct mig_error *err);
ssize_t vfu_read_state(struct device *d, void *buf, size_t size, struct mig_error *err);
int vfu_write_state(struct device *d, const void *buf, size_t size, struct mig_error *err);
int vfu_reset(struct device *d, struct mig_error *err);

/* known-state.c */
void vfu_note_state(struct vfu_device *vd, enum device_state state);
enum device_state vfu_known_state(struct vfu_device *vd);
/* Around a way out of the running states. */
void vfu_begin_transition(struct vfu_device *vd);
void vfu_end_transition(struct vfu_device *vd);
bool vfu_state_runs(enum device_state s);
/* Whether a device in this state takes mappings and tells facts (libvfio-user: the others refuse). */
bool vfu_state_is_configurable(enum device_state s);

/* What a command of the pass-through client needs of the device. */
enum vfu_need {
    VFU_NEED_CONFIGURABLE, /* infos, interrupts, mappings: running, or being loaded */
    VFU_NEED_RUNNING,      /* region accesses */
    VFU_NEED_RESET,        /* running, or in the error state */
};
/* Waits until the device is in such a state and not quiesced. On success the device does not leave the state
 * before vfu_wait_done() (a quiesce only keeps the next command waiting). False when give_up says so (asked
 * whenever state_changed is signalled) or the device is closed. */
bool vfu_wait_for(struct vfu_device *vd, enum vfu_need need, bool (*give_up)(void *userdata), void *userdata);
void vfu_wait_done(struct vfu_device *vd);

/* feature.c */
/* One DEVICE_FEATURE. data goes out after the feature header; the reply's data (after its feature header)
 * comes into reply, at least reply_min bytes. call->refused tells a refusal apart; call may be NULL. */
int vfu_feature(struct vfu_device *vd, uint32_t flags, const char *what, const void *data, size_t data_bytes,
                void *reply, uint32_t reply_min, uint32_t reply_max, int *ret_refused, struct mig_error *err);
/* Success and false when the device refuses. */
int vfu_feature_probe(struct vfu_device *vd, uint32_t flags, bool *ret, struct mig_error *err);

/* facts.c */
int vfu_learn_migration(struct vfu_device *vd, struct device_info *info, struct mig_error *err);
/* Regions, interrupts, PCI ids; *ret_known false when the device refuses to tell in its state. */
int vfu_learn_device(struct vfu_device *vd, struct device_info *info, bool *ret_known, struct mig_error *err);
/* Called when the device reached a state in which it may tell more. */
void vfu_learn_again(struct vfu_device *vd);

/* dirty-log.c */
int vfu_log_start(struct device *d, uint64_t *page_bytes, struct mig_error *err);
int vfu_log_stop(struct device *d, struct mig_error *err);
int vfu_log_report(struct device *d, device_log_cb cb, void *userdata, struct mig_error *err);
/* map_lock held. */
int vfu_log_report_mapping(struct vfu_device *vd, const struct iova_mapping *m, device_log_cb cb,
                           void *userdata, struct mig_error *err);

/* mapping.c */
int vfu_dma_map(struct device *d, const struct iova_mapping *mapping, struct mig_error *err);
int vfu_dma_unmap(struct device *d, uint64_t iova, uint64_t size_bytes, struct mig_error *err);
/* A server that a crashed client left in STOP or STOP_COPY refuses mappings: they wait until the device is in
 * a state that takes them, on the way to RUNNING in the quiet state before it. Called after each step to such
 * a state. */
int vfu_send_late_maps(struct vfu_device *vd, struct mig_error *err);
/* Mappings without a descriptor, which are not in the IOVA map. */
int vfu_dma_map_foreign(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, uint32_t prot,
                        struct mig_error *err);
int vfu_dma_unmap_foreign(struct vfu_device *vd, uint64_t iova, uint64_t size_bytes, struct mig_error *err);

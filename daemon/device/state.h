/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The migration states of a passthrough device, shared by kernel VFIO and vfio-user: numbers, names, and
 * which arcs exist. Source: struct vfio_device_feature_mig_state in the kernel's linux/vfio.h. Numbers are
 * history, not order.
 */
#pragma once
#include "base/util.h"

enum device_state {
    DEVICE_STATE_ERROR = 0,
    DEVICE_STATE_STOP = 1,
    DEVICE_STATE_RUNNING = 2,
    DEVICE_STATE_STOP_COPY = 3,
    DEVICE_STATE_RESUMING = 4,
    DEVICE_STATE_RUNNING_P2P = 5,
    DEVICE_STATE_PRE_COPY = 6,
    DEVICE_STATE_PRE_COPY_P2P = 7,
    DEVICE_STATE_MAX,
};

#define DEVICE_MIGRATION_STOP_COPY 1u
#define DEVICE_MIGRATION_P2P       2u
#define DEVICE_MIGRATION_PRE_COPY  4u

/* "running", "stop-copy", ...; "unknown" for anything else. Never NULL. */
const char *device_state_to_string(enum device_state s);
/* -EINVAL for an unknown word. */
int device_state_from_string(const char *text);
/* Whether a device with these DEVICE_MIGRATION_* flags has the state at all. */
bool device_state_exists(uint32_t flags, enum device_state s);
/* The next state on the way from `from` to `to` for a device with these flags, by the kernel's table with
 * states that the device lacks skipped; DEVICE_STATE_ERROR when there is no way. */
enum device_state device_state_next(uint32_t flags, enum device_state from, enum device_state to);
/* The state to try when from -> to failed, before a reset (rule R12). */
enum device_state device_state_recovery(enum device_state from, enum device_state to);

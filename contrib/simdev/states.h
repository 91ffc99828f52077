/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The migration states of the kernel's VFIO v2 interface and the walk between them; pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum state {
    STATE_ERROR = 0,
    STATE_STOP = 1,
    STATE_RUNNING = 2,
    STATE_STOP_COPY = 3,
    STATE_RESUMING = 4,
    STATE_RUNNING_P2P = 5,
    STATE_PRE_COPY = 6,
    STATE_PRE_COPY_P2P = 7,
    STATE_MAX,
};

const char *state_name(uint32_t state);
/* "running", "stop-copy" etc., or -EINVAL. */
int state_from_name(const char *name);
/* Whether a device with these VFU_MIGRATION_ flags has the state. ERROR can be had, but not asked for. */
bool state_exists(uint32_t state, uint64_t flags);
/* The next state on the way, skipping what the device does not have; -EINVAL when there is no way. */
int state_next_step(uint32_t now, uint32_t wanted, uint64_t flags);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "states.h"
#include "vfio-user.h"
#include <errno.h>
#include <string.h>

static const char *const names[STATE_MAX] = {
    [STATE_ERROR] = "error",       [STATE_STOP] = "stop",
    [STATE_RUNNING] = "running",   [STATE_STOP_COPY] = "stop-copy",
    [STATE_RESUMING] = "resuming", [STATE_RUNNING_P2P] = "running-p2p",
    [STATE_PRE_COPY] = "pre-copy", [STATE_PRE_COPY_P2P] = "pre-copy-p2p",
};

/* Row: now, column: wanted. ERROR (0) where there is no way, for it is never a step of a walk. */
static const uint8_t steps[STATE_MAX][STATE_MAX] = {
    [STATE_STOP] =
        {
            [STATE_STOP] = STATE_STOP,
            [STATE_RUNNING] = STATE_RUNNING_P2P,
            [STATE_PRE_COPY] = STATE_RUNNING_P2P,
            [STATE_PRE_COPY_P2P] = STATE_RUNNING_P2P,
            [STATE_STOP_COPY] = STATE_STOP_COPY,
            [STATE_RESUMING] = STATE_RESUMING,
            [STATE_RUNNING_P2P] = STATE_RUNNING_P2P,
        },
    [STATE_RUNNING] =
        {
            [STATE_STOP] = STATE_RUNNING_P2P,
            [STATE_RUNNING] = STATE_RUNNING,
            [STATE_PRE_COPY] = STATE_PRE_COPY,
            [STATE_PRE_COPY_P2P] = STATE_RUNNING_P2P,
            [STATE_STOP_COPY] = STATE_RUNNING_P2P,
            [STATE_RESUMING] = STATE_RUNNING_P2P,
            [STATE_RUNNING_P2P] = STATE_RUNNING_P2P,
        },
    [STATE_PRE_COPY] =
        {
            [STATE_STOP] = STATE_RUNNING,
            [STATE_RUNNING] = STATE_RUNNING,
            [STATE_PRE_COPY] = STATE_PRE_COPY,
            [STATE_PRE_COPY_P2P] = STATE_PRE_COPY_P2P,
            [STATE_STOP_COPY] = STATE_PRE_COPY_P2P,
            [STATE_RESUMING] = STATE_RUNNING,
            [STATE_RUNNING_P2P] = STATE_RUNNING,
        },
    [STATE_PRE_COPY_P2P] =
        {
            [STATE_STOP] = STATE_RUNNING_P2P,
            [STATE_RUNNING] = STATE_RUNNING_P2P,
            [STATE_PRE_COPY] = STATE_PRE_COPY,
            [STATE_PRE_COPY_P2P] = STATE_PRE_COPY_P2P,
            [STATE_STOP_COPY] = STATE_STOP_COPY,
            [STATE_RESUMING] = STATE_RUNNING_P2P,
            [STATE_RUNNING_P2P] = STATE_RUNNING_P2P,
        },
    [STATE_STOP_COPY] =
        {
            [STATE_STOP] = STATE_STOP,
            [STATE_RUNNING] = STATE_STOP,
            [STATE_STOP_COPY] = STATE_STOP_COPY,
            [STATE_RESUMING] = STATE_STOP,
            [STATE_RUNNING_P2P] = STATE_STOP,
        },
    [STATE_RESUMING] =
        {
            [STATE_STOP] = STATE_STOP,
            [STATE_RUNNING] = STATE_STOP,
            [STATE_PRE_COPY] = STATE_STOP,
            [STATE_PRE_COPY_P2P] = STATE_STOP,
            [STATE_STOP_COPY] = STATE_STOP,
            [STATE_RESUMING] = STATE_RESUMING,
            [STATE_RUNNING_P2P] = STATE_STOP,
        },
    [STATE_RUNNING_P2P] =
        {
            [STATE_STOP] = STATE_STOP,
            [STATE_RUNNING] = STATE_RUNNING,
            [STATE_PRE_COPY] = STATE_RUNNING,
            [STATE_PRE_COPY_P2P] = STATE_PRE_COPY_P2P,
            [STATE_STOP_COPY] = STATE_STOP,
            [STATE_RESUMING] = STATE_STOP,
            [STATE_RUNNING_P2P] = STATE_RUNNING_P2P,
        },
};

const char *state_name(uint32_t state)
{
    return state < STATE_MAX ? names[state] : "unknown";
}

int state_from_name(const char *name)
{
    for (int s = STATE_STOP; s < STATE_MAX; s++) {
        if (strcmp(name, names[s]) == 0)
            return s;
    }
    return -EINVAL;
}

bool state_exists(uint32_t state, uint64_t flags)
{
    switch (state) {
    case STATE_STOP:
    case STATE_RUNNING:
    case STATE_STOP_COPY:
    case STATE_RESUMING:
        return flags & VFU_MIGRATION_STOP_COPY;
    case STATE_RUNNING_P2P:
        return flags & VFU_MIGRATION_P2P;
    case STATE_PRE_COPY:
        return flags & VFU_MIGRATION_PRE_COPY;
    case STATE_PRE_COPY_P2P:
        return (flags & VFU_MIGRATION_P2P) && (flags & VFU_MIGRATION_PRE_COPY);
    default:
        return false;
    }
}

int state_next_step(uint32_t now, uint32_t wanted, uint64_t flags)
{
    if (now >= STATE_MAX || !state_exists(wanted, flags))
        return -EINVAL;
    uint32_t next = now;
    do {
        next = steps[next][wanted];
        if (next == STATE_ERROR)
            return -EINVAL;
    } while (!state_exists(next, flags));
    return (int)next;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table of migration states. No state of its own; any thread.
 *
 * next_hop[now][wanted] is the first step of the way for a device that has every state; a step into a state
 * that the device lacks is looked through, which is how the kernel's VFIO core walks too.
 */
#include "device/state.h"
#include <string.h>

static const struct {
    const char *word;
    uint32_t needs; /* DEVICE_MIGRATION_* that must all be there */
} states[DEVICE_STATE_MAX] = {
    [DEVICE_STATE_ERROR] = {"error", DEVICE_MIGRATION_STOP_COPY},
    [DEVICE_STATE_STOP] = {"stop", DEVICE_MIGRATION_STOP_COPY},
    [DEVICE_STATE_RUNNING] = {"running", DEVICE_MIGRATION_STOP_COPY},
    [DEVICE_STATE_STOP_COPY] = {"stop-copy", DEVICE_MIGRATION_STOP_COPY},
    [DEVICE_STATE_RESUMING] = {"resuming", DEVICE_MIGRATION_STOP_COPY},
    [DEVICE_STATE_RUNNING_P2P] = {"running-p2p", DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P},
    [DEVICE_STATE_PRE_COPY] = {"pre-copy", DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_PRE_COPY},
    [DEVICE_STATE_PRE_COPY_P2P] = {"pre-copy-p2p", DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P |
                                                       DEVICE_MIGRATION_PRE_COPY},
};

/* Short names for the table only. Zero, which is ERROR, is what everything not named here leads to. */
#define STOP    DEVICE_STATE_STOP
#define RUN     DEVICE_STATE_RUNNING
#define STOPC   DEVICE_STATE_STOP_COPY
#define RES     DEVICE_STATE_RESUMING
#define RUN_P2P DEVICE_STATE_RUNNING_P2P
#define PRE     DEVICE_STATE_PRE_COPY
#define PRE_P2P DEVICE_STATE_PRE_COPY_P2P

static const uint8_t next_hop[DEVICE_STATE_MAX][DEVICE_STATE_MAX] = {
    [STOP] = {[STOP] = STOP,
              [RUN] = RUN_P2P,
              [PRE] = RUN_P2P,
              [PRE_P2P] = RUN_P2P,
              [STOPC] = STOPC,
              [RES] = RES,
              [RUN_P2P] = RUN_P2P},
    [RUN] = {[STOP] = RUN_P2P,
             [RUN] = RUN,
             [PRE] = PRE,
             [PRE_P2P] = RUN_P2P,
             [STOPC] = RUN_P2P,
             [RES] = RUN_P2P,
             [RUN_P2P] = RUN_P2P},
    [PRE] = {[STOP] = RUN,
             [RUN] = RUN,
             [PRE] = PRE,
             [PRE_P2P] = PRE_P2P,
             [STOPC] = PRE_P2P,
             [RES] = RUN,
             [RUN_P2P] = RUN},
    [PRE_P2P] = {[STOP] = RUN_P2P,
                 [RUN] = RUN_P2P,
                 [PRE] = PRE,
                 [PRE_P2P] = PRE_P2P,
                 [STOPC] = STOPC,
                 [RES] = RUN_P2P,
                 [RUN_P2P] = RUN_P2P},
    [STOPC] = {[STOP] = STOP, [RUN] = STOP, [STOPC] = STOPC, [RES] = STOP, [RUN_P2P] = STOP},
    [RES] = {[STOP] = STOP,
             [RUN] = STOP,
             [PRE] = STOP,
             [PRE_P2P] = STOP,
             [STOPC] = STOP,
             [RES] = RES,
             [RUN_P2P] = STOP},
    [RUN_P2P] = {[STOP] = STOP,
                 [RUN] = RUN,
                 [PRE] = RUN,
                 [PRE_P2P] = PRE_P2P,
                 [STOPC] = STOP,
                 [RES] = STOP,
                 [RUN_P2P] = RUN_P2P},
};

const char *device_state_to_string(enum device_state s)
{
    return (unsigned)s < DEVICE_STATE_MAX ? states[s].word : "unknown";
}

int device_state_from_string(const char *text)
{
    for (unsigned s = 0; text && s < DEVICE_STATE_MAX; s++)
        if (strcmp(text, states[s].word) == 0)
            return (int)s;
    return -EINVAL;
}

bool device_state_exists(uint32_t flags, enum device_state s)
{
    return (unsigned)s < DEVICE_STATE_MAX && (flags & states[s].needs) == states[s].needs;
}

enum device_state device_state_next(uint32_t flags, enum device_state from, enum device_state to)
{
    if (to == DEVICE_STATE_ERROR || !device_state_exists(flags, from) || !device_state_exists(flags, to))
        return DEVICE_STATE_ERROR;
    enum device_state next = next_hop[from][to];
    /* Bounded by the number of states, whatever the table says. */
    for (unsigned i = 0; i < DEVICE_STATE_MAX && next != DEVICE_STATE_ERROR; i++) {
        if (device_state_exists(flags, next))
            return next;
        next = next_hop[next][to];
    }
    return DEVICE_STATE_ERROR;
}

enum device_state device_state_recovery(enum device_state from, enum device_state to)
{
    switch (from) {
    case DEVICE_STATE_STOP:
    case DEVICE_STATE_STOP_COPY:
        return DEVICE_STATE_STOP; /* stands still, and what it had saved can be asked for again */
    case DEVICE_STATE_RUNNING:
    case DEVICE_STATE_PRE_COPY:
        return DEVICE_STATE_RUNNING; /* saving ends, the device goes on */
    case DEVICE_STATE_RUNNING_P2P:
    case DEVICE_STATE_PRE_COPY_P2P:
        /* On the way to standing still the quiet state is safe; on the way to running it is where the device
         * was. */
        return DEVICE_STATE_RUNNING_P2P;
    default:
        return DEVICE_STATE_ERROR; /* half-loaded or broken: only a reset helps */
    }
}

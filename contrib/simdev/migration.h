/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The migration state of the device. One setter walks the arcs; each arc has its effect: the engine falls
 * silent or goes on, a stream is begun or ended, a loaded state is taken over or refused. Server thread only.
 * The state outlives the connection: a device that a client left in STOP_COPY is in STOP_COPY for the next
 * one.
 *
 *   RUNNING, PRE_COPY           the engine writes
 *   RUNNING_P2P, PRE_COPY_P2P   it finished the write in flight and begins no new one
 *   STOP, STOP_COPY, RESUMING   it is silent
 *   ERROR                       after a refused load; only a reset leads out
 */
#pragma once
#include "state-load.h"
#include "state-save.h"
#include "states.h"

struct device;

struct migration {
    uint32_t state;
    bool loaded;         /* a state was taken over, and none has been begun since */
    bool precopy_stream; /* the stream was begun in PRE_COPY */
    struct state_save save;
    struct state_load load;
    uint64_t more_sequence, more_usec; /* when PRE_COPY last had something new to say */
};

void migration_init(struct migration *m);
void migration_free(struct migration *m);
/* SET of MIG_DEVICE_STATE; when it fails the state is what the walk reached. */
int migration_set_state(struct device *d, uint32_t wanted);
/* DEVICE_RESET: RUNNING, from wherever. Streams are gone. */
void migration_reset(struct device *d);
/* Sets the engine's mode after the state, the connection or `loaded` changed; parks and releases it. */
void migration_apply_mode(struct device *d);
/* MIG_DATA_READ and _WRITE. */
int migration_read(struct device *d, uint8_t *buf, size_t size, size_t *ret_size);
int migration_write(struct device *d, const uint8_t *buf, size_t size);

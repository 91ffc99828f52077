/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The DMA engine: a thread that writes pages.
 *
 * Everything that the engine works with (DMA table, area, mode, pattern, connection, event descriptors) is
 * changed by the server thread between engine_park() and engine_release() only. After engine_park() no DMA is
 * in flight and none begins: a command that must not be answered before the device let go of memory parks the
 * engine first.
 */
#pragma once
#include "area.h"
#include "pattern.h"
#include <pthread.h>
#include <stdatomic.h>

struct device;

enum engine_mode {
    ENGINE_QUIET,
    ENGINE_WORKS,
    ENGINE_STRAYS, /* misbehaves: writes though the device is stopped */
};

struct engine {
    struct device *device;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool hold;            /* the engine must park as soon as it can */
    bool parked, quit, released; /* under lock */

    enum engine_mode mode;
    bool control;      /* BAR0: told to write */
    bool area_changed; /* the DMA table is another than the area was built from */
    uint64_t rate;
    uint64_t doorbell; /* pages to write at once */
    struct area area;
    struct pattern pattern;

    _Atomic uint64_t sequence; /* of the newest record */
    _Atomic uint64_t pages_written, dma_errors;

    uint64_t epoch_usec, epoch_pages; /* pacing: since when, and how many pages since */
    uint64_t burst_left, next_burst_usec, retry_usec;
};

int engine_start(struct engine *e, struct device *device);
void engine_stop(struct engine *e);
/* Server thread; not nested. */
void engine_park(struct engine *e);
void engine_release(struct engine *e);

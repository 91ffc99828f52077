/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The receiving side of pages: one thread per page connection runs apply_run, which receives PAGES into place
 * (no copy beside the one out of the socket) and applies ZERO, until the peer closes. Every region number,
 * offset, length and count is checked against the regions that the handshake allowed before memory is
 * touched.
 */
#pragma once
#include "base/error.h"
#include "memory/region.h"
#include "transport/frame.h"

struct populate_beside;
struct apply_counters { /* shared by the connections of a migration */
    _Atomic uint64_t normal_pages, zero_pages, payload_bytes;
};
struct apply {
    struct region *const *regions; /* borrowed */
    size_t nregions;
    struct apply_counters *counters;
    const _Atomic bool
        *mark; /* while true, pages that are in place are marked in their region; may be NULL */
    /* Per connection: frames of it (HELLO included) that are in place, also what came of them is known then;
     * written by its thread. NULL: nobody asks. */
    uint64_t *applied;
    struct populate_beside *beside; /* borrowed: told what comes; NULL: nobody populates beside */
    bool acknowledge;               /* tell the source now and then, so that it can forget what it sent */
    /* Called on the connection's thread when its FENCE of that round came. of: so many fences end the round;
     * 0: one of each connection. */
    void (*fence)(void *userdata, unsigned connection, uint32_t round, uint64_t of);
    void *userdata;
};

/* 0: the peer closed in good order. */
int apply_run(const struct apply *a, unsigned connection, struct frame_stream *stream, struct mig_error *err);

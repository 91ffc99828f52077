/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether to go another round (R9). A pure function of the history: nothing is asked, nothing remembered, so
 * that recorded traces are its tests.
 *
 * DMA cannot be throttled, so a device that writes faster than the link carries never converges, and the
 * operator must hear that soon: after at most three rounds.
 */
#pragma once
#include "base/util.h"

struct convergence_round {
    uint64_t sent_bytes;    /* payload and overhead of this round */
    uint64_t duration_usec; /* of sending it */
    uint64_t dirty_bytes;   /* what the harvest after it found: what would have to be sent now */
    uint64_t
        dirty_interval_usec; /* time between that harvest and the one before: what dirty_bytes piled up in */
    uint64_t saved_bytes;    /* what packing took off the wire: sent_bytes are without them */
};

struct convergence_input {
    const struct convergence_round *rounds; /* oldest first, at least one */
    size_t nrounds;
    uint64_t device_state_bytes; /* expected in the blackout, devices and VMM */
    uint64_t fixed_usec;         /* measured or assumed cost of the steps that do not depend on bytes */
    uint64_t max_downtime_usec;
    uint64_t bandwidth_cap; /* bytes per second; 0: none. A cap holds in the blackout too. */
};

enum convergence_decision { CONVERGENCE_ANOTHER_ROUND, CONVERGENCE_SWITCH_OVER, CONVERGENCE_STALLED };

struct convergence_result {
    enum convergence_decision decision;
    uint64_t expected_downtime_usec; /* if it switched over now */
    uint64_t bandwidth;  /* bytes per second, from the newest round that says something about it */
    uint64_t dirty_rate; /* bytes per second */
};

/* Rounds with at most this many bytes say nothing about the bandwidth. */
#define CONVERGENCE_SMALL_ROUND_BYTES (UINT64_C(4) << 20)
/* How many rounds in a row may fail to shrink what is dirty before it counts as stalled. */
#define CONVERGENCE_STALL_ROUNDS 3

void convergence_decide(const struct convergence_input *input, struct convergence_result *ret);
const char *convergence_decision_to_string(enum convergence_decision d);

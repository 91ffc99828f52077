/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keys of Migration.Status (a{sv}) and of `migctl --json status`, with their types and units. One table:
 * the daemon writes from it, migctl prints from it.
 *
 *   X(field of struct migration_counters, key, unit)       all are t (uint64) on the bus
 *
 * Besides these the dictionary has: "id" s, "domain" s, "engine" s ("native", "libvirt"), "engine-why"
 * s (why this one of a domain of libvirt's; "" for others), "direction" s, "peer" s, "state" s, "phase" s,
 * "round" u, "verdict" s, "error" s (word; of a completed one: libvirt did not finish its part, and the
 * message says so), "message" s, "hint" s, "cancel-requested" b (by somebody, not where it is broken off),
 * "paused" b, "gate" s ("clean", "clean-by-digests", "dirty", "late": clean when it was asked, but a device
 * wrote after the decision; "off", ""), "verify" s ("off", "proved", "failed", ""), "connections-why" s (why
 * not more of them; "" before it is known), "trackers" aa{sv} (as Domain.Trackers without "started"),
 * "options" a{sv}.
 */
#pragma once

#define MIGD_UNIT_BYTES 'B'
#define MIGD_UNIT_USEC  'u'
#define MIGD_UNIT_PAGES 'p'
#define MIGD_UNIT_RATE  'r' /* bytes per second */
#define MIGD_UNIT_COUNT 'n'
#define MIGD_UNIT_MILLI 'm' /* thousandths: 1500 is 1.5 */

/* clang-format off */
#define MIGD_STATUS_TABLE(X)                                                                                 \
    X(memory_bytes, "memory-total", MIGD_UNIT_BYTES)           /* of all regions */                          \
    X(started_usec, "started", MIGD_UNIT_USEC)                 /* CLOCK_REALTIME */                          \
    X(elapsed_usec, "time-elapsed", MIGD_UNIT_USEC)                                                          \
    X(remaining_usec, "time-remaining", MIGD_UNIT_USEC)        /* estimate; 0 when unknown */                \
    X(processed_bytes, "memory-processed", MIGD_UNIT_BYTES)    /* payload sent, zero pages not counted */    \
    X(remaining_bytes, "memory-remaining", MIGD_UNIT_BYTES)    /* dirty or not yet sent */                   \
    X(wire_bytes, "data-processed", MIGD_UNIT_BYTES)           /* everything on all channels */              \
    X(packed_bytes, "compression-before", MIGD_UNIT_BYTES)     /* pages that were packed; as they were, */      \
    X(packed_wire_bytes, "compression-after", MIGD_UNIT_BYTES) /* and on the wire */                         \
    X(normal_pages, "memory-normal", MIGD_UNIT_PAGES)                                                        \
    X(zero_pages, "memory-constant", MIGD_UNIT_PAGES)                                                        \
    X(dirty_rate, "memory-dirty-rate", MIGD_UNIT_RATE)                                                       \
    X(bandwidth, "memory-bandwidth", MIGD_UNIT_RATE)           /* measured over the last round */            \
    X(iterations, "memory-iteration", MIGD_UNIT_COUNT)                                                       \
    X(device_bytes, "device-state", MIGD_UNIT_BYTES)                                                         \
    X(vmm_bytes, "vmm-state", MIGD_UNIT_BYTES)                                                               \
    X(expected_downtime_usec, "expected-downtime", MIGD_UNIT_USEC)                                           \
    X(setup_usec, "setup-time", MIGD_UNIT_USEC)                                                              \
    X(downtime_usec, "downtime", MIGD_UNIT_USEC)               /* pause begun to running at the other side */ \
    X(downtime_pause_usec, "downtime-pause", MIGD_UNIT_USEC)                                                 \
    X(downtime_quiesce_usec, "downtime-quiesce", MIGD_UNIT_USEC)                                             \
    X(downtime_final_read_usec, "downtime-final-read", MIGD_UNIT_USEC)                                       \
    X(downtime_pages_usec, "downtime-pages", MIGD_UNIT_USEC)                                                 \
    X(downtime_device_usec, "downtime-device-state", MIGD_UNIT_USEC)                                         \
    X(downtime_load_usec, "downtime-load", MIGD_UNIT_USEC)                                                   \
    X(downtime_gate_usec, "downtime-gate", MIGD_UNIT_USEC)                                                   \
    X(downtime_verify_usec, "downtime-verify", MIGD_UNIT_USEC)                                               \
    X(downtime_commit_usec, "downtime-commit", MIGD_UNIT_USEC)                                               \
    X(downtime_resume_usec, "downtime-resume", MIGD_UNIT_USEC)                                               \
    X(final_bytes, "final-bytes", MIGD_UNIT_BYTES)             /* pages sent in the blackout */              \
    X(changed_bytes, "resent-changed", MIGD_UNIT_BYTES)        /* of bytes sent again, really changed (--verify) */ \
    X(resent_bytes, "resent", MIGD_UNIT_BYTES)                 /* sent in round 1 and later */               \
    X(amplification_milli, "amplification", MIGD_UNIT_MILLI)   /* resent / changed; 0 when not measured */   \
    X(granularity_bytes, "dirty-page-size", MIGD_UNIT_BYTES)   /* coarsest tracker */                        \
    X(gate_pages, "gate-pages", MIGD_UNIT_PAGES)                                                             \
    X(gate_resends, "gate-resends", MIGD_UNIT_COUNT)                                                         \
    X(verify_pages, "verify-pages", MIGD_UNIT_PAGES)           /* compared */                                \
    X(verify_bad_pages, "verify-bad-pages", MIGD_UNIT_PAGES)                                                 \
    X(connections, "connections", MIGD_UNIT_COUNT)                                                           \
    X(reconnects, "reconnects", MIGD_UNIT_COUNT)               /* times that the connections were made anew */ \
    X(reconnect_usec, "reconnect-time", MIGD_UNIT_USEC)        /* from the breaks to going on, together */   \
    X(lost_bytes, "resent-in-flight", MIGD_UNIT_BYTES)         /* sent again because a break may have lost it */
/* clang-format on */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clang-format off */
/*
 * States and phases of a migration, as words on the bus and in records. A state says how it stands, a phase where it is.
 * Cancel requested, guest paused, device quiet are facts of their own, not states.
 *
 *   outgoing                                                incoming
 *   setup ─ full-send ─ precopy ─┐                          setup ─ receive ─ load ─ prepared ─ accepted ─ resume ─ done
 *     ┌──────────────────────────┘
 *     pause ─ quiesce ─ final-read ─ final-pages ─ device-state ─ prepare ─ gate ─ verify ─ commit ─ committed ─ done
 *
 * From full-send, precopy and receive a connection that breaks leads to `reconnecting`, and back.
 *
 * From pause to done the workload stands still on both sides: the blackout. The record that decides is written in commit; before it every
 * failure goes through `rollback` and the source runs on, after it the source never resumes by itself.
 */
#pragma once

#define MIGD_STATE_TABLE(X)                                                                                  \
    X(MIG_STATE_RUNNING, "running")                                                                          \
    X(MIG_STATE_COMPLETED, "completed")                                                                      \
    X(MIG_STATE_FAILED, "failed")                                                                            \
    X(MIG_STATE_CANCELLED, "cancelled")                                                                      \
    X(MIG_STATE_IN_DOUBT, "in-doubt")

/* symbol, word, bit mask of directions: 1 outgoing, 2 incoming */
#define MIGD_PHASE_TABLE(X)                                                                                  \
    X(MIG_PHASE_SETUP, "setup", 3)                                                                           \
    X(MIG_PHASE_FULL_SEND, "full-send", 1)                                                                   \
    X(MIG_PHASE_PRECOPY, "precopy", 1)                                                                       \
    X(MIG_PHASE_RECONNECTING, "reconnecting", 3)                                                             \
    X(MIG_PHASE_PAUSE, "pause", 1)                                                                           \
    X(MIG_PHASE_QUIESCE, "quiesce", 1)                                                                       \
    X(MIG_PHASE_FINAL_READ, "final-read", 1)                                                                 \
    X(MIG_PHASE_FINAL_PAGES, "final-pages", 1)                                                               \
    X(MIG_PHASE_DEVICE_STATE, "device-state", 1)                                                             \
    X(MIG_PHASE_PREPARE, "prepare", 1)                                                                       \
    X(MIG_PHASE_GATE, "gate", 1)                                                                             \
    X(MIG_PHASE_VERIFY, "verify", 3)                                                                         \
    X(MIG_PHASE_COMMIT, "commit", 1)                                                                         \
    X(MIG_PHASE_COMMITTED, "committed", 1)                                                                   \
    X(MIG_PHASE_RECEIVE, "receive", 2)                                                                       \
    X(MIG_PHASE_LOAD, "load", 2)                                                                             \
    X(MIG_PHASE_PREPARED, "prepared", 2)                                                                     \
    X(MIG_PHASE_ACCEPTED, "accepted", 2)                                                                     \
    X(MIG_PHASE_RESUME, "resume", 2)                                                                         \
    X(MIG_PHASE_ROLLBACK, "rollback", 3)                                                                     \
    X(MIG_PHASE_DONE, "done", 3)

/* What a domain is doing; property State of a Domain. */
#define MIGD_DOMAIN_STATE_TABLE(X)                                                                           \
    X(DOMAIN_STATE_RUNNING, "running")     /* a source at rest */                                            \
    X(DOMAIN_STATE_WAITING, "waiting")     /* incoming, nobody came yet */                                   \
    X(DOMAIN_STATE_MIGRATING, "migrating") /* an outgoing migration runs */                                  \
    X(DOMAIN_STATE_RECEIVING, "receiving") /* an incoming migration runs */                                  \
    X(DOMAIN_STATE_IN_DOUBT, "in-doubt")   /* prepared, the decision is not known */                         \
    X(DOMAIN_STATE_DEPARTED, "departed")   /* runs elsewhere now */                                          \
    X(DOMAIN_STATE_BROKEN, "broken")       /* a device could not be brought back, see Problem */
/* clang-format on */

enum mig_state {
#define X(symbol, word) symbol,
    MIGD_STATE_TABLE(X)
#undef X
        MIG_STATE_MAX,
};
enum mig_phase {
#define X(symbol, word, directions) symbol,
    MIGD_PHASE_TABLE(X)
#undef X
        MIG_PHASE_MAX,
};
enum domain_state {
#define X(symbol, word) symbol,
    MIGD_DOMAIN_STATE_TABLE(X)
#undef X
        DOMAIN_STATE_MAX,
};

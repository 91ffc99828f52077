/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migration: one job, outgoing or incoming, as everybody sees it: id, state, phase, counters, error,
 * options. The engine's own things (worker, connections) are in outgoing/ and incoming/, which fill `ops`.
 *
 * Threads: one mutex inside; every function here may be called from any thread. Changes are told to the
 * observer on the main thread, coalesced: one call may stand for many changes. One const table of phases and
 * one setter: validate, log, tell.
 */
#pragma once
#include "base/error.h"
#include "migd-states.h"
#include "migd-status.h"
#include "migration/options.h"
#include <stdint.h>

struct loop;
struct migration;

#define MIGRATION_ID_LEN 32 /* hex digits */

enum migration_direction { MIGRATION_OUTGOING, MIGRATION_INCOMING };

struct migration_counters {
#define X(field, key, unit) uint64_t field;
    MIGD_STATUS_TABLE(X)
#undef X
};

struct migration_tracker_status {
    char name[128], kind[16], device[128];
    uint64_t harvests, pages_reported, pages_first, gate_pages, granularity_bytes;
    bool blind;
};
#define MIGRATION_TRACKERS_MAX 64

struct migration_status { /* a snapshot; a plain value */
    char id[MIGRATION_ID_LEN + 1];
    char domain[64];
    char peer[256];
    char engine[12];      /* "native": migd's own; "libvirt": QEMU moves everything */
    char engine_why[200]; /* why this one, where there was a choice; else "" */
    enum migration_direction direction;
    enum mig_state state;
    enum mig_phase phase;
    uint32_t round;
    bool cancel_requested; /* by somebody; not when it is broken off */
    bool paused;
    char verdict[400];
    char gate[24], verify[16];
    char connections_why[160]; /* why not more of them; "": not known yet */
    struct mig_error error;
    struct migration_options options;
    struct migration_counters counters;
    size_t ntrackers; /* those of the domain, as they were when the last round ended */
    struct migration_tracker_status tracker[MIGRATION_TRACKERS_MAX];
};

struct migration_round { /* RoundCompleted */
    uint32_t round;
    uint64_t pages, bytes, zero_pages, duration_usec, bandwidth, dirty_pages, dirty_rate,
        expected_downtime_usec;
    char decision[24]; /* "another-round", "switch-over", "stalled", "force" */
    char verdict[400];
};

/* Filled by the engine that runs it; called on the main thread. */
struct migration_ops {
    void (*cancel)(struct migration *m, void *engine);
    /* The migration has just become in doubt. */
    void (*doubtful)(struct migration *m, void *engine);
    /* The daemon ends and its loop with it: come to an end that a successor can pick up, whatever the phase,
     * and join the worker. */
    void (*shutdown)(struct migration *m, void *engine);
    void (*options_changed)(struct migration *m, void *engine);
    /* Any thread, with the migration's lock held: adds to a copy of the counters what was done since they
     * were last updated. May be NULL. */
    void (*progress)(void *engine, struct migration_counters *c);
    int (*resolve)(struct migration *m, void *engine, bool run, struct mig_error *err);
    /* Joins the worker and frees the engine: at the last unref of an ended migration, or at shutdown. */
    void (*destroy)(struct migration *m, void *engine);
};

/* Called on the main thread. The observer may drop references, not free the loop. */
struct migration_observer {
    void (*changed)(struct migration *m, void *userdata);
    void (*round)(struct migration *m, const struct migration_round *round, void *userdata);
    void (*ended)(struct migration *m, void *userdata); /* once, or once more after in-doubt was resolved */
    void *userdata;
};

int migration_new(struct migration **ret, struct loop *loop, const char *id /* NULL: a new one */,
                  enum migration_direction direction, const char *domain, const char *peer,
                  const struct migration_options *options);
void migration_set_engine(struct migration *m, const struct migration_ops *ops, void *engine);
void migration_set_observer(struct migration *m, const struct migration_observer *o);
struct migration *migration_ref(struct migration *m);
struct migration *migration_unref(struct migration *m);
DEFINE_CLEANUP(struct migration *, migration_unref)

const char *migration_id(const struct migration *m);     /* never changes */
const char *migration_domain(const struct migration *m); /* never changes */
const char *migration_peer(const struct migration *m);   /* never changes */
enum migration_direction migration_direction(const struct migration *m);
void migration_get_status(struct migration *m, struct migration_status *ret); /* elapsed time is as of now */
enum mig_state migration_get_state(struct migration *m);
enum mig_phase migration_get_phase(struct migration *m);

/* For the bus face; main thread. */
int migration_cancel(struct migration *m, struct mig_error *err); /* WrongState after the commit began */
/* The same when nobody asked for it: it ends as failed, for this reason. */
int migration_break_off(struct migration *m, const struct mig_error *why, struct mig_error *err);
/* At the end of the daemon, when the loop does not run any more: before the decision it is rolled back, after
 * it the record speaks to the successor. Nothing is told; no thread of it is left. */
void migration_shutdown(struct migration *m);
int migration_set_options(struct migration *m, const struct migration_options *o);
int migration_resolve(struct migration *m, bool run, struct mig_error *err);

/* For the engine; any thread. */
void migration_set_phase(struct migration *m, enum mig_phase phase);
void migration_set_round(struct migration *m, uint32_t round);
void migration_set_connections_why(struct migration *m, const char *why);
void migration_set_verdict(struct migration *m, const char *format, ...) _printf_(2, 3);
void migration_set_paused(struct migration *m, bool paused);
void migration_set_proof(struct migration *m, const char *gate, const char *verify); /* NULL: as it is */
void migration_set_engine_word(struct migration *m, const char *engine);
void migration_set_engine_why(struct migration *m, const char *why);
/* fn(counters, userdata) under the lock. */
void migration_update(struct migration *m, void (*fn)(struct migration_counters *c, void *userdata),
                      void *userdata);
void migration_set_trackers(struct migration *m, const struct migration_tracker_status *t, size_t n);
void migration_round_completed(struct migration *m, const struct migration_round *round);
void migration_get_options(struct migration *m, struct migration_options *ret);
/* Whether it was told to end, by a cancel or because it was broken off, and what it ends with then; one that
 * was not told: with a cancel. */
bool migration_explain_cancel(struct migration *m, struct mig_error *ret);
/* The point of no return for Cancel: enters phase commit unless a cancel was requested (-ECANCELED);
 * afterwards migration_cancel answers WrongState. */
int migration_begin_commit(struct migration *m);
/* For incoming ones: from `prepared` on only the source, or the operator's word, may end it. -ECANCELED when
 * a cancel was accepted before. */
int migration_forbid_cancel(struct migration *m);
/* Ends it, or says that it is in doubt; a migration in doubt may end once more. err NULL for completed. */
void migration_end(struct migration *m, enum mig_state state, const struct mig_error *err);
/* What belongs to it and is not migd's (libvirt's part) has failed. One that completes, or has completed, has
 * completed all the same, and says this as its error. */
void migration_failed_beside(struct migration *m, const struct mig_error *why);

const char *mig_state_to_string(enum mig_state s);
const char *mig_phase_to_string(enum mig_phase p);
const char *migration_direction_to_string(enum migration_direction d);

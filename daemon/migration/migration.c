/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/migration.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/hex.h"
#include "base/log.h"
#include "loop/loop.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct migration {
    unsigned refs; /* atomic */
    struct loop *loop;
    pthread_mutex_t lock; /* everything below */
    struct migration_status status;
    uint64_t started_monotonic_usec, ended_monotonic_usec;
    bool commit_begun;
    bool told_to_end;
    struct mig_error broken_off; /* why; not set: it was cancelled, or told nothing */
    struct mig_error beside;     /* what failed beside it */
    bool change_posted;
    const struct migration_ops *ops;
    void *engine;
    struct migration_observer observer; /* main thread only */
};

static const char *const state_words[MIG_STATE_MAX] = {
#define X(symbol, word) [symbol] = word,
    MIGD_STATE_TABLE(X)
#undef X
};
static const struct {
    const char *word;
    unsigned directions;
} phases[MIG_PHASE_MAX] = {
#define X(symbol, w, d) [symbol] = {w, d},
    MIGD_PHASE_TABLE(X)
#undef X
};

/* The one table of the state machine: to which phases a phase may go. Rollback and done are reachable from
 * every phase before the decision. */
#define TO(p) (1u << (p))
#define ENDS  (TO(MIG_PHASE_ROLLBACK) | TO(MIG_PHASE_DONE))
static const uint32_t next_phases[MIG_PHASE_MAX] = {
    [MIG_PHASE_SETUP] = TO(MIG_PHASE_FULL_SEND) | TO(MIG_PHASE_RECEIVE) | TO(MIG_PHASE_PREPARED) |
                        TO(MIG_PHASE_ACCEPTED) | TO(MIG_PHASE_COMMITTED) | ENDS,
    [MIG_PHASE_FULL_SEND] = TO(MIG_PHASE_PRECOPY) | TO(MIG_PHASE_PAUSE) | TO(MIG_PHASE_RECONNECTING) | ENDS,
    [MIG_PHASE_PRECOPY] = TO(MIG_PHASE_PAUSE) | TO(MIG_PHASE_RECONNECTING) | ENDS,
    [MIG_PHASE_RECONNECTING] = TO(MIG_PHASE_FULL_SEND) | TO(MIG_PHASE_PRECOPY) | TO(MIG_PHASE_RECEIVE) | ENDS,
    [MIG_PHASE_PAUSE] = TO(MIG_PHASE_QUIESCE) | ENDS,
    [MIG_PHASE_QUIESCE] = TO(MIG_PHASE_FINAL_READ) | ENDS,
    [MIG_PHASE_FINAL_READ] = TO(MIG_PHASE_FINAL_PAGES) | ENDS,
    [MIG_PHASE_FINAL_PAGES] = TO(MIG_PHASE_DEVICE_STATE) | ENDS,
    [MIG_PHASE_DEVICE_STATE] = TO(MIG_PHASE_PREPARE) | ENDS,
    [MIG_PHASE_PREPARE] = TO(MIG_PHASE_GATE) | TO(MIG_PHASE_VERIFY) | TO(MIG_PHASE_COMMIT) | ENDS,
    [MIG_PHASE_GATE] = TO(MIG_PHASE_GATE) | TO(MIG_PHASE_VERIFY) | TO(MIG_PHASE_COMMIT) | ENDS,
    [MIG_PHASE_VERIFY] = TO(MIG_PHASE_COMMIT) | TO(MIG_PHASE_PREPARED) | TO(MIG_PHASE_ACCEPTED) | ENDS,
    [MIG_PHASE_COMMIT] = TO(MIG_PHASE_COMMITTED) | ENDS,
    [MIG_PHASE_COMMITTED] = ENDS,
    [MIG_PHASE_RECEIVE] = TO(MIG_PHASE_LOAD) | TO(MIG_PHASE_RECONNECTING) | ENDS,
    [MIG_PHASE_LOAD] = TO(MIG_PHASE_PREPARED) | ENDS,
    [MIG_PHASE_PREPARED] = TO(MIG_PHASE_VERIFY) | TO(MIG_PHASE_ACCEPTED) | ENDS,
    [MIG_PHASE_ACCEPTED] = TO(MIG_PHASE_RESUME) | ENDS,
    [MIG_PHASE_RESUME] = TO(MIG_PHASE_DONE) | TO(MIG_PHASE_ROLLBACK),
    [MIG_PHASE_ROLLBACK] = TO(MIG_PHASE_DONE),
};

const char *mig_state_to_string(enum mig_state s)
{
    return s < MIG_STATE_MAX ? state_words[s] : "unknown";
}

const char *mig_phase_to_string(enum mig_phase p)
{
    return p < MIG_PHASE_MAX ? phases[p].word : "unknown";
}

const char *migration_direction_to_string(enum migration_direction d)
{
    return d == MIGRATION_OUTGOING ? "outgoing" : "incoming";
}

static uint64_t realtime_usec(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

int migration_new(struct migration **ret, struct loop *loop, const char *id,
                  enum migration_direction direction, const char *domain, const char *peer,
                  const struct migration_options *options)
{
    struct migration *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->refs = 1;
    m->loop = loop;
    pthread_mutex_init(&m->lock, NULL);
    struct migration_status *s = &m->status;
    if (id) {
        snprintf(s->id, sizeof s->id, "%s", id);
    } else if (hex_random(s->id, MIGRATION_ID_LEN) < 0) {
        free(m);
        return -EIO;
    }
    snprintf(s->domain, sizeof s->domain, "%s", domain);
    snprintf(s->peer, sizeof s->peer, "%s", peer);
    snprintf(s->engine, sizeof s->engine, "native");
    s->direction = direction;
    s->phase = MIG_PHASE_SETUP;
    s->options = *options;
    s->counters.started_usec = realtime_usec();
    m->started_monotonic_usec = now_usec();
    *ret = m;
    return 0;
}

void migration_set_engine(struct migration *m, const struct migration_ops *ops, void *engine)
{
    m->ops = ops;
    m->engine = engine;
}

void migration_set_observer(struct migration *m, const struct migration_observer *o)
{
    m->observer = *o;
}

struct migration *migration_ref(struct migration *m)
{
    __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

struct migration *migration_unref(struct migration *m)
{
    if (m && __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        if (m->ops && m->ops->destroy)
            m->ops->destroy(m, m->engine);
        pthread_mutex_destroy(&m->lock);
        free(m);
    }
    return NULL;
}

const char *migration_id(const struct migration *m)
{
    return m->status.id;
}

const char *migration_domain(const struct migration *m)
{
    return m->status.domain;
}

const char *migration_peer(const struct migration *m)
{
    return m->status.peer;
}

enum migration_direction migration_direction(const struct migration *m)
{
    return m->status.direction;
}

void migration_get_status(struct migration *m, struct migration_status *ret)
{
    pthread_mutex_lock(&m->lock);
    *ret = m->status;
    uint64_t until = m->ended_monotonic_usec ? m->ended_monotonic_usec : now_usec();
    ret->counters.elapsed_usec = until - m->started_monotonic_usec;
    if (m->ops && m->ops->progress && m->status.state == MIG_STATE_RUNNING)
        m->ops->progress(m->engine, &ret->counters);
    pthread_mutex_unlock(&m->lock);
}

enum mig_state migration_get_state(struct migration *m)
{
    pthread_mutex_lock(&m->lock);
    enum mig_state s = m->status.state;
    pthread_mutex_unlock(&m->lock);
    return s;
}

enum mig_phase migration_get_phase(struct migration *m)
{
    pthread_mutex_lock(&m->lock);
    enum mig_phase p = m->status.phase;
    pthread_mutex_unlock(&m->lock);
    return p;
}

void migration_get_options(struct migration *m, struct migration_options *ret)
{
    pthread_mutex_lock(&m->lock);
    *ret = m->status.options;
    pthread_mutex_unlock(&m->lock);
}

/* News: a posted function holds a reference until it ran. */

static void tell_changed(void *userdata)
{
    struct migration *m = userdata;
    pthread_mutex_lock(&m->lock);
    m->change_posted = false;
    pthread_mutex_unlock(&m->lock);
    if (m->observer.changed)
        m->observer.changed(m, m->observer.userdata);
    migration_unref(m);
}

static void tell_ended(void *userdata)
{
    struct migration *m = userdata;
    if (migration_get_state(m) == MIG_STATE_IN_DOUBT && m->ops && m->ops->doubtful)
        m->ops->doubtful(m, m->engine);
    if (m->observer.changed)
        m->observer.changed(m, m->observer.userdata);
    if (m->observer.ended)
        m->observer.ended(m, m->observer.userdata);
    migration_unref(m);
}

struct round_news {
    struct migration *migration;
    struct migration_round round;
};

static void tell_round(void *userdata)
{
    struct round_news *n = userdata;
    if (n->migration->observer.round)
        n->migration->observer.round(n->migration, &n->round, n->migration->observer.userdata);
    migration_unref(n->migration);
    free(n);
}

static void post(struct migration *m, void (*fn)(void *))
{
    if (loop_post(m->loop, fn, migration_ref(m)) < 0)
        migration_unref(m);
}

/* Lock held. */
static void changed(struct migration *m)
{
    if (!m->change_posted) {
        m->change_posted = true;
        post(m, tell_changed);
    }
}

/* why NULL: somebody cancels it. The first word counts. */
static int tell_to_end(struct migration *m, const struct mig_error *why, struct mig_error *err)
{
    pthread_mutex_lock(&m->lock);
    enum mig_state state = m->status.state;
    bool late = m->commit_begun;
    if (state == MIG_STATE_RUNNING && !late) {
        if (why && !m->told_to_end)
            m->broken_off = *why;
        m->status.cancel_requested |= !why;
        m->told_to_end = true;
        changed(m);
    }
    pthread_mutex_unlock(&m->lock);
    if (state == MIG_STATE_IN_DOUBT || (state == MIG_STATE_RUNNING && late)) {
        mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "Migration %s cannot be cancelled any more: %s",
                      m->status.id,
                      m->status.direction == MIGRATION_OUTGOING
                          ? "the decision that the destination runs has been recorded"
                          : "it is prepared, and the source may already have decided");
        mig_error_hint(err, "Wait for the outcome, or use migctl resolve when it is in doubt");
        return -ESTALE;
    }
    if (state != MIG_STATE_RUNNING)
        return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "Migration %s has already ended (%s)", m->status.id,
                             mig_state_to_string(state));
    if (m->ops && m->ops->cancel)
        m->ops->cancel(m, m->engine);
    return 0;
}

int migration_cancel(struct migration *m, struct mig_error *err)
{
    return tell_to_end(m, NULL, err);
}

int migration_break_off(struct migration *m, const struct mig_error *why, struct mig_error *err)
{
    return tell_to_end(m, why, err);
}

bool migration_explain_cancel(struct migration *m, struct mig_error *ret)
{
    pthread_mutex_lock(&m->lock);
    bool told = m->told_to_end;
    if (mig_error_is_set(&m->broken_off))
        *ret = m->broken_off;
    else
        mig_error_set(ret, MIG_ERR_CANCELLED, 0, "The migration of %s was cancelled%s", m->status.domain,
                      m->status.direction == MIGRATION_INCOMING ? " at the destination" : "");
    pthread_mutex_unlock(&m->lock);
    return told;
}

void migration_shutdown(struct migration *m)
{
    if (m->ops && m->ops->shutdown)
        m->ops->shutdown(m, m->engine);
}

int migration_set_options(struct migration *m, const struct migration_options *o)
{
    pthread_mutex_lock(&m->lock);
    m->status.options = *o;
    changed(m);
    pthread_mutex_unlock(&m->lock);
    if (m->ops && m->ops->options_changed)
        m->ops->options_changed(m, m->engine);
    return 0;
}

int migration_resolve(struct migration *m, bool run, struct mig_error *err)
{
    if (migration_get_state(m) != MIG_STATE_IN_DOUBT || !m->ops || !m->ops->resolve)
        return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "Migration %s is not in doubt", m->status.id);
    return m->ops->resolve(m, m->engine, run, err);
}

static void log_phase(const struct migration *m, enum mig_phase phase)
{
    const struct log_fields fields = {
        .domain = m->status.domain, .migration = m->status.id, .phase = mig_phase_to_string(phase)};
    log_write(LOG_DEBUG, &fields, "%s migration of %s: %s",
              migration_direction_to_string(m->status.direction), m->status.domain,
              mig_phase_to_string(phase));
}

static bool set_phase(struct migration *m, enum mig_phase phase)
{
    enum mig_phase from = m->status.phase;
    unsigned direction = m->status.direction == MIGRATION_OUTGOING ? 1 : 2;
    if (from == phase)
        return true;
    if (!(next_phases[from] & TO(phase)) || !(phases[phase].directions & direction)) {
        log_error("migration %s: phase %s does not follow %s; this is a bug in migd", m->status.id,
                  phases[phase].word, phases[from].word);
        return false;
    }
    m->status.phase = phase;
    log_phase(m, phase);
    changed(m);
    return true;
}

/* A phase's name is a fault point: before whatever happens in it. */
static void pass_fault_point(const struct migration *m, enum mig_phase phase)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", m->status.direction == MIGRATION_OUTGOING ? "" : "in-",
             phases[phase].word);
    fault_point(name);
}

void migration_set_phase(struct migration *m, enum mig_phase phase)
{
    pthread_mutex_lock(&m->lock);
    set_phase(m, phase);
    pthread_mutex_unlock(&m->lock);
    pass_fault_point(m, phase);
}

int migration_begin_commit(struct migration *m)
{
    pthread_mutex_lock(&m->lock);
    int r = m->told_to_end ? -ECANCELED : 0;
    if (r == 0) {
        m->commit_begun = true;
        set_phase(m, MIG_PHASE_COMMIT);
    }
    pthread_mutex_unlock(&m->lock);
    if (r == 0)
        pass_fault_point(m, MIG_PHASE_COMMIT);
    return r;
}

int migration_forbid_cancel(struct migration *m)
{
    pthread_mutex_lock(&m->lock);
    int r = m->told_to_end ? -ECANCELED : 0;
    m->commit_begun |= r == 0;
    pthread_mutex_unlock(&m->lock);
    return r;
}

void migration_set_round(struct migration *m, uint32_t round)
{
    pthread_mutex_lock(&m->lock);
    m->status.round = round;
    m->status.counters.iterations = (uint64_t)round + 1;
    changed(m);
    pthread_mutex_unlock(&m->lock);
}

void migration_set_verdict(struct migration *m, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    pthread_mutex_lock(&m->lock);
    vsnprintf(m->status.verdict, sizeof m->status.verdict, format, ap);
    changed(m);
    pthread_mutex_unlock(&m->lock);
    va_end(ap);
}

void migration_set_connections_why(struct migration *m, const char *why)
{
    pthread_mutex_lock(&m->lock);
    snprintf(m->status.connections_why, sizeof m->status.connections_why, "%s", why);
    changed(m);
    pthread_mutex_unlock(&m->lock);
}

void migration_set_paused(struct migration *m, bool paused)
{
    pthread_mutex_lock(&m->lock);
    m->status.paused = paused;
    changed(m);
    pthread_mutex_unlock(&m->lock);
}

void migration_set_proof(struct migration *m, const char *gate, const char *verify)
{
    pthread_mutex_lock(&m->lock);
    if (gate)
        snprintf(m->status.gate, sizeof m->status.gate, "%s", gate);
    if (verify)
        snprintf(m->status.verify, sizeof m->status.verify, "%s", verify);
    changed(m);
    pthread_mutex_unlock(&m->lock);
}

void migration_set_engine_word(struct migration *m, const char *engine)
{
    pthread_mutex_lock(&m->lock);
    snprintf(m->status.engine, sizeof m->status.engine, "%s", engine);
    pthread_mutex_unlock(&m->lock);
}

void migration_set_engine_why(struct migration *m, const char *why)
{
    pthread_mutex_lock(&m->lock);
    snprintf(m->status.engine_why, sizeof m->status.engine_why, "%s", why);
    pthread_mutex_unlock(&m->lock);
}

void migration_update(struct migration *m, void (*fn)(struct migration_counters *c, void *userdata),
                      void *userdata)
{
    pthread_mutex_lock(&m->lock);
    fn(&m->status.counters, userdata);
    changed(m);
    pthread_mutex_unlock(&m->lock);
}

void migration_set_trackers(struct migration *m, const struct migration_tracker_status *t, size_t n)
{
    pthread_mutex_lock(&m->lock);
    m->status.ntrackers = MIN(n, (size_t)MIGRATION_TRACKERS_MAX);
    memcpy(m->status.tracker, t, m->status.ntrackers * sizeof *t);
    pthread_mutex_unlock(&m->lock);
}

void migration_round_completed(struct migration *m, const struct migration_round *round)
{
    struct round_news *n = malloc(sizeof *n);
    if (!n)
        return; /* a signal less: the properties still tell */
    *n = (struct round_news){migration_ref(m), *round};
    if (loop_post(m->loop, tell_round, n) < 0) {
        migration_unref(m);
        free(n);
    }
}

void migration_end(struct migration *m, enum mig_state state, const struct mig_error *err)
{
    pthread_mutex_lock(&m->lock);
    m->status.state = state;
    if (state != MIG_STATE_IN_DOUBT) {
        set_phase(m, MIG_PHASE_DONE);
        m->ended_monotonic_usec = now_usec();
    }
    m->status.error = err ? *err : state == MIG_STATE_COMPLETED ? m->beside : MIG_ERROR_INIT;
    m->status.counters.remaining_usec = 0;
    pthread_mutex_unlock(&m->lock);
    if (state != MIG_STATE_IN_DOUBT)
        pass_fault_point(m, MIG_PHASE_DONE);
    post(m, tell_ended);
}

void migration_failed_beside(struct migration *m, const struct mig_error *why)
{
    pthread_mutex_lock(&m->lock);
    m->beside = *why;
    if (m->status.state == MIG_STATE_COMPLETED && !mig_error_is_set(&m->status.error)) {
        m->status.error = *why;
        changed(m);
    }
    pthread_mutex_unlock(&m->lock);
}

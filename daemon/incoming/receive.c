/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Receiving: a thread per page connection and one for device state; the worker listens on control. A thread
 * that fails keeps the first reason and wakes the worker, which tells the source.
 */
#include "base/clock.h"
#include "incoming/populate-beside.h"
#include "incoming/session.h"
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define ATTACH_TIMEOUT_SEC 10 /* for the next of its connections */
#define LOOK_INTERVAL_NSEC 100000000
#define STATE_TIMEOUT_SEC  60
/* While rounds run the source may be silent on control for long; dead peers are found by the page connections
 * and by keepalive. */
#define PREPARE_TIMEOUT_USEC USEC_INFINITY

void session_fail(struct session *s, const struct mig_error *why)
{
    pthread_mutex_lock(&s->lock);
    if (!mig_error_is_set(&s->failure))
        s->failure = *why;
    pthread_cond_broadcast(&s->attached_cond);
    pthread_mutex_unlock(&s->lock);
    eventfd_write(s->wake_fd, 1);
}

/* Under the lock as a whole: what no longer receives is never failed by this. */
void session_look_after(struct session *s, struct patience *p)
{
    struct mig_error err = MIG_ERROR_INIT;
    pthread_mutex_lock(&s->lock);
    uint64_t mark = s->fences + s->counters.normal_pages + s->counters.zero_pages;
    if (s->receiving)
        mark += state_apply_device_bytes(s->state) + state_apply_vmm_bytes(s->state);
    if (patience_look(p, now_usec(), mark, !s->receiving, &err) < 0 && s->receiving &&
        !mig_error_is_set(&s->failure)) {
        s->failure = err;
        pthread_cond_broadcast(&s->attached_cond);
        eventfd_write(s->wake_fd, 1);
    }
    pthread_mutex_unlock(&s->lock);
}

static void set_receiving(struct session *s, bool receiving)
{
    pthread_mutex_lock(&s->lock);
    s->receiving = receiving;
    pthread_mutex_unlock(&s->lock);
}

/* All page connections have brought their fence of a round: tell the source. The one that comes last does. */
static void on_fence(void *userdata, unsigned connection, uint32_t round, uint64_t of)
{
    struct session *s = userdata;
    uint64_t came = 0;
    pthread_mutex_lock(&s->lock);
    s->fence_round[connection] = round + 1;
    s->fences++;
    for (size_t i = 0; i < s->nconnections; i++)
        came += s->fence_round[i] == round + 1;
    bool all = came == (of ? of : s->nconnections);
    pthread_mutex_unlock(&s->lock);
    if (!all)
        return;
    migration_set_round(s->migration, round);
    struct json_object *o = json_object_new_object();
    struct mig_error err = MIG_ERROR_INIT;
    int r = o ? json_add_u64(o, "round", round) : -ENOMEM;
    pthread_mutex_lock(&s->send_lock);
    if (r == 0)
        r = dialogue_send(&s->control_stream, "fence", TAKE_PTR(o), &err);
    pthread_mutex_unlock(&s->send_lock);
    json_object_put(o);
    if (r < 0)
        session_fail(s, &err);
}

static void *page_thread(void *userdata)
{
    struct session_connection *c = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    if (apply_run(&c->session->apply, c->index, &c->stream, &err) < 0)
        session_fail(c->session, &err);
    return NULL;
}

static void *state_thread(void *userdata)
{
    struct session_connection *c = userdata;
    struct session *s = c->session;
    struct mig_error err = MIG_ERROR_INIT;
    int r = state_apply_run(s->state, &c->stream, &err);
    if (r < 0) {
        session_fail(s, &err);
        return NULL;
    }
    pthread_mutex_lock(&s->lock);
    c->index = 1; /* all device state is here */
    pthread_cond_broadcast(&s->attached_cond);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* A slice of the wait below. Lock held. */
static int wait_locked(struct session *s, bool (*ready)(const struct session *))
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_INTERVAL_NSEC;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!ready(s) && !mig_error_is_set(&s->failure))
        if (pthread_cond_timedwait(&s->attached_cond, &s->lock, &until) == ETIMEDOUT)
            return -ETIMEDOUT;
    return mig_error_is_set(&s->failure) ? -EIO : 0;
}

/* Until nattached or the state's end says so, a failure, or the time is over. A source that gives up, or a
 * cancel, need not be waited out: nothing else is due on control meanwhile. */
static int wait_for(struct session *s, bool (*ready)(const struct session *), unsigned timeout_sec,
                    const char *what, struct mig_error *err)
{
    static const char *const none[] = {NULL};
    const struct dialogue_expect nothing = {.names = none, .what = what};
    uint64_t deadline_usec = deadline_in(timeout_sec * USEC_PER_SEC);
    for (;;) {
        struct json_object *o;
        int name;
        pthread_mutex_lock(&s->lock);
        int r = wait_locked(s, ready);
        pthread_mutex_unlock(&s->lock);
        if (r != -ETIMEDOUT || now_usec() >= deadline_usec)
            return r;
        if (s->control->ops->wait_readable(s->control, 0) != -ETIMEDOUT)
            return dialogue_receive(&s->control_stream, &nothing, &name, &o, NULL, err);
    }
}

static bool all_attached(const struct session *s)
{
    return s->nattached == s->nconnections + 1;
}

static bool state_ended(const struct session *s)
{
    return s->state_connection.index == 1;
}

static int start_thread(struct session_connection *c, void *(*fn)(void *), struct mig_error *err)
{
    if (pthread_create(&c->thread, NULL, fn, c) != 0)
        return mig_error_oom(err);
    c->has_thread = true;
    return 0;
}

/* What the source may say on control while it sends. */
static int until_prepare(struct session *s, struct mig_error *err)
{
    static const char *const names[] = {"prepare", "ping", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = PREPARE_TIMEOUT_USEC, .what = "the rest of the migration"};
    for (;;) {
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name, r = dialogue_receive(&s->control_stream, &expect, &name, &o, NULL, err);
        if (r < 0 || name == 0)
            return r;
        pthread_mutex_lock(&s->send_lock);
        r = dialogue_send(&s->control_stream, "pong", NULL, err);
        pthread_mutex_unlock(&s->send_lock);
        if (r < 0)
            return r;
    }
}

struct session_connection *session_expect_another(struct session *s, uint64_t index)
{
    return s->threads_run && s->receiving && index == s->nconnections && index < s->limit ? &s->pages[index]
                                                                                          : NULL;
}

int session_start_another(struct session *s, struct session_connection *c)
{
    s->nconnections++;
    return start_thread(c, page_thread, NULL);
}

static size_t count_attached(struct session *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->nattached;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* The source opens one after the other, and each may take it as long as that. */
static int await_connections(struct session *s, struct mig_error *err)
{
    size_t before, n = count_attached(s);
    int r;
    do {
        before = n;
        r = wait_for(s, all_attached, ATTACH_TIMEOUT_SEC, "its other connections", err);
        n = count_attached(s);
    } while (r == -ETIMEDOUT && !mig_error_is_set(err) && n > before);
    if (r == -ETIMEDOUT && !mig_error_is_set(err))
        return mig_error_set(err, MIG_ERR_PEER_TIMEOUT, 0,
                             "The source opened %zu of %zu connections and for %d s no other", n,
                             s->nconnections + 1, ATTACH_TIMEOUT_SEC);
    return r;
}

static int start_threads(struct session *s, struct mig_error *err)
{
    int r = await_connections(s, err);
    if (r < 0)
        return r;
    unsigned beside = s->beside ? 0 : populate_beside_threads(s->nconnections);
    if (beside > 0 && populate_beside_new(&s->beside, s->regions, s->nregions, beside) < 0)
        s->beside = NULL; /* it is only for speed */
    s->apply = (struct apply){.regions = s->regions,
                              .nregions = s->nregions,
                              .counters = &s->counters,
                              .mark = &s->digested,
                              .applied = s->applied,
                              .beside = s->beside,
                              .acknowledge = s->reconnect_usec > 0,
                              .fence = on_fence,
                              .userdata = s};
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->nconnections && r == 0; i++)
        r = start_thread(&s->pages[i], page_thread, err);
    s->threads_run = r == 0;
    pthread_mutex_unlock(&s->lock);
    return r < 0 ? r : start_thread(&s->state_connection, state_thread, err);
}

static void set_received(struct migration_counters *c, void *userdata)
{
    const struct session *s = userdata;
    c->normal_pages = s->counters.normal_pages;
    c->zero_pages = s->counters.zero_pages;
    c->processed_bytes = s->counters.payload_bytes;
    c->device_bytes = state_apply_device_bytes(s->state);
    c->vmm_bytes = state_apply_vmm_bytes(s->state);
    c->connections = s->nconnections;
    c->memory_bytes = 0;
    for (size_t i = 0; i < s->nregions; i++)
        c->memory_bytes += s->regions[i]->size_bytes;
}

int session_receive(struct session *s, struct mig_error *err)
{
    int r;
    for (;;) {
        migration_set_phase(s->migration, MIG_PHASE_RECEIVE);
        migration_set_verdict(s->migration, "Receiving memory and device state");
        set_receiving(s, true);
        r = start_threads(s, err);
        if (r == 0)
            session_set_resumable(s, true);
        if (r == 0)
            r = until_prepare(s, err);
        set_receiving(s, false);
        if (r == 0)
            break;
        r = session_resume(s, r, err);
        if (r < 0)
            return r;
    }
    session_set_resumable(s, false);
    r = session_start_heartbeat(s, err);
    if (r < 0)
        return r;
    migration_set_phase(s->migration, MIG_PHASE_LOAD);
    r = wait_for(s, state_ended, STATE_TIMEOUT_SEC, "the rest of the device state", err);
    if (r == -ETIMEDOUT && !mig_error_is_set(err))
        return mig_error_set(err, MIG_ERR_PEER_TIMEOUT, 0, "The device state did not arrive within %d s",
                             STATE_TIMEOUT_SEC);
    migration_update(s->migration, set_received, s);
    return r;
}

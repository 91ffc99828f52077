/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A source whose connections broke before the blackout, and that comes back (include/migd-wire.h, "resume").
 *
 * The worker ends what is left of the old connections, so that nothing of theirs can arrive late, and waits
 * with the memory as it is. The source shows the key that the handshake gave it, and hears how many frames of
 * each connection are in place and how much of each device's state was taken; then everything attaches anew.
 * A key is good for one time: whoever recorded it comes too late. While the network is there the source can
 * also be asked whether it still wants to come; one that was rolled back or restarted does not.
 */
#include "base/clock.h"
#include "base/fds.h"
#include "base/format.h"
#include "base/hex.h"
#include "base/log.h"
#include "incoming/greeting.h"
#include "incoming/session.h"
#include "transport/security.h"
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#define RECONNECT_MAX_USEC (3600 * USEC_PER_SEC)
/* The source may notice a break later than this side does. */
#define MARGIN_USEC       (15 * USEC_PER_SEC)
#define ASK_INTERVAL_USEC USEC_PER_SEC
#define KEY_DIGITS        32

int session_agree_resume(struct session *s, struct mig_error *err)
{
    uint64_t usec;
    if (json_get_u64(s->hello, "reconnect-timeout", &usec) < 0 || usec == 0)
        return 0;
    s->reconnect_usec = MIN(usec, RECONNECT_MAX_USEC);
    state_apply_acknowledge(s->state);
    int r = hex_random(s->resume_key, KEY_DIGITS);
    return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "No random numbers: %s", strerror(-r)) : 0;
}

void session_set_resumable(struct session *s, bool resumable)
{
    pthread_mutex_lock(&s->lock);
    s->resumable = resumable && s->reconnect_usec > 0;
    struct channel *offer = s->resumable ? NULL : TAKE_PTR(s->offer);
    pthread_mutex_unlock(&s->lock);
    channel_free(offer);
}

/* The source has the newer key, which makes the older one worthless, and with it what the answer to that one
 * said. Lock held; no thread of a connection runs. */
static void confirm_key(struct session *s)
{
    memcpy(s->resume_key, s->next_key, sizeof s->resume_key);
    s->next_key[0] = '\0';
    memset(s->applied, 0, sizeof s->applied);
}

bool session_may_attach(struct session *s, struct json_object *hello)
{
    const char *key = "";
    json_get_string(hello, "key", &key);
    if (!greeting_token_equals(key, s->attach_key))
        return false;
    if (s->next_key[0])
        confirm_key(s);
    return true;
}

int session_offer(struct session *s, struct channel *channel, const struct frame_stream *stream,
                  struct json_object *hello, struct mig_error *err)
{
    const char *key = "";
    uint64_t usec = 0;
    json_get_string(hello, "key", &key);
    json_get_u64(hello, "reconnect-timeout", &usec);
    struct channel *older = NULL;
    uint64_t connections = 0;
    json_get_u64(hello, "connections", &connections);
    char name[sizeof s->source_name];
    security_peer_name(channel, name, sizeof name);
    pthread_mutex_lock(&s->lock);
    bool newer = s->next_key[0] && greeting_token_equals(key, s->next_key);
    bool right = newer || (s->resume_key[0] && greeting_token_equals(key, s->resume_key));
    bool possible = s->resumable, same = strcmp(name, s->source_name) == 0;
    if (right && possible && same) {
        if (newer)
            confirm_key(s);
        if (usec)
            s->reconnect_usec = MIN(usec, RECONNECT_MAX_USEC);
        s->offer_connections = MIN(connections, (uint64_t)s->limit);
        older = s->offer;
        s->offer = channel;
        s->offer_stream = *stream;
        s->offer_stream.channel = channel;
        eventfd_write(s->wake_fd, 1); /* under the lock: who takes the offer takes its wake-up, too */
    }
    pthread_mutex_unlock(&s->lock);
    channel_free(older);
    if (!right)
        return mig_error_set(err, MIG_ERR_NO_SUCH_MIGRATION, 0,
                             "There is no such migration here, or the key to resume it is wrong");
    if (!same)
        return mig_error_set(err, MIG_ERR_NOT_ALLOWED, 0,
                             "The migration was begun by another host, which had another certificate");
    if (!possible)
        return mig_error_set(err, MIG_ERR_WRONG_STATE, 0,
                             "The migration cannot be resumed here any more: it has come too far, or ends");
    return 0;
}

static bool is_cancelled(const struct session *s)
{
    return poll(&(struct pollfd){.fd = s->cancel_fd, .events = POLLIN}, 1, 0) > 0;
}

/* Why receiving failed: what a thread kept says more than the wake-up of the worker. */
static void find_reason(struct session *s, struct mig_error *err)
{
    pthread_mutex_lock(&s->lock);
    if (mig_error_is_set(&s->failure) &&
        (!mig_error_is_set(err) || err->code == MIG_ERR_CANCELLED || err->code == MIG_ERR_PEER_LOST))
        *err = s->failure;
    pthread_mutex_unlock(&s->lock);
}

/* A source that gives up says so on control before its other connections end. */
static bool source_gave_up(struct session *s, struct mig_error *err)
{
    static const char *const names[] = {"ping", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = DIALOGUE_LAST_WORD_USEC, .what = "a reason"};
    s->control->cancel_fd = -1;
    for (int i = 0; i < 4; i++) {
        struct mig_error said = MIG_ERROR_INIT;
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name, r = dialogue_receive(&s->control_stream, &expect, &name, &o, NULL, &said);
        if (r == 0)
            continue;
        if (r != -ECONNABORTED)
            return false;
        *err = said;
        pthread_mutex_lock(&s->lock);
        s->failure = MIG_ERROR_INIT; /* it only followed */
        pthread_mutex_unlock(&s->lock);
        return true;
    }
    return false;
}

static int add_numbers(struct json_object *o, const char *key, const uint64_t *numbers, size_t n)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; array && i < n; i++) {
        struct json_object *number = json_object_new_uint64(numbers[i]);
        if (!number || json_object_array_add(array, number) < 0) {
            json_object_put(number);
            json_object_put(array);
            return -ENOMEM;
        }
    }
    return array ? json_add(o, key, array) : -ENOMEM;
}

static int answer(struct session *s, struct mig_error *err)
{
    uint64_t taken[WIRE_DEVICES_MAX];
    size_t ndevices = MIN(s->domain->ndevices, ELEMENTS(taken));
    for (size_t i = 0; i < ndevices; i++)
        taken[i] = state_apply_taken(s->state, i);
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_bool(o, "ok", true) < 0 || json_add_string(o, "resume-key", s->next_key) < 0 ||
        add_numbers(o, "applied", s->applied, s->limit) < 0 ||
        add_numbers(o, "state-taken", taken, ndevices) < 0)
        return mig_error_oom(err);
    return frame_send_json(&s->control_stream, WIRE_HELLO, o, err);
}

/* The offer becomes the control connection. 1: it did; 0: there is none, or it broke again. All wake-ups
 * until here are used up: the waits on the new connection take one for a failure of theirs. */
static int take_offer(struct session *s, struct mig_error *err)
{
    char key[KEY_DIGITS + 1];
    int r = hex_random(key, KEY_DIGITS);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "No random numbers: %s", strerror(-r));
    pthread_mutex_lock(&s->lock);
    eventfd_t wakes;
    eventfd_read(s->wake_fd, &wakes);
    s->control = TAKE_PTR(s->offer);
    if (s->control) {
        s->control_stream = s->offer_stream;
        s->control->cancel_fd = s->wake_fd;
        s->failure = MIG_ERROR_INIT;
        s->nattached = 0;
        if (s->offer_connections) /* what it knows to have opened */
            s->nconnections = s->offer_connections;
        memset(s->fence_round, 0, sizeof s->fence_round);
        memcpy(s->next_key, key, sizeof key);
        memcpy(s->attach_key, key, sizeof key);
        s->closed = false;
    }
    pthread_mutex_unlock(&s->lock);
    if (!s->control)
        return 0;
    r = answer(s, err);
    if (r < 0) {
        session_end_receiving(s);
        s->control = channel_free(s->control);
    }
    return r == -ENOMEM ? r : r == 0;
}

/* Whether the source is known not to come back. */
static bool source_forgot(struct session *s, struct mig_error *err)
{
    char word[32] = "";
    struct mig_error why = MIG_ERROR_INIT;
    if (!s->decision_address[0])
        return false;
    int r = dialogue_ask(s->security, s->decision_address, s->source_name, "query",
                         migration_id(s->migration), s->token, s->wake_fd, word, sizeof word, &why);
    if (r < 0 ? why.code != MIG_ERR_NO_SUCH_MIGRATION : strcmp(word, "aborted") != 0)
        return false;
    mig_error_set(err, MIG_ERR_PEER_LOST, 0,
                  "The connections of the source broke, and it has given this migration up meanwhile: the "
                  "workload runs on there");
    return true;
}

static int await_source(struct session *s, struct mig_error *err)
{
    uint64_t began_usec = now_usec(), ask_usec = began_usec + ASK_INTERVAL_USEC;
    for (;;) {
        struct mig_error why = *err;
        int r = take_offer(s, &why);
        if (r < 0)
            *err = why;
        if (r >= 0 && is_cancelled(s)) /* after the wake-up that came with it was used up */
            return mig_error_set(err, MIG_ERR_CANCELLED, 0, "Cancelled while the source of %s was away",
                                 s->domain->name);
        if (r != 0)
            return MIN(r, 0);
        pthread_mutex_lock(&s->lock);
        uint64_t wait_usec = s->reconnect_usec + MARGIN_USEC;
        pthread_mutex_unlock(&s->lock);
        if (now_usec() >= began_usec + wait_usec) {
            mig_error_wrap(err, "The source did not come back within %s", FORMAT_USEC(wait_usec));
            return -err->err;
        }
        if (now_usec() >= ask_usec) {
            if (source_forgot(s, err))
                return -err->err;
            ask_usec = now_usec() + ASK_INTERVAL_USEC;
        }
        fd_wait(s->wake_fd, POLLIN, -1, MIN(ask_usec, began_usec + wait_usec));
    }
}

static void count_resume(struct migration_counters *c, void *userdata)
{
    c->reconnects++;
    c->reconnect_usec += now_usec() - *(const uint64_t *)userdata;
}

int session_resume(struct session *s, int r, struct mig_error *err)
{
    const struct log_fields fields = {.domain = s->domain->name, .migration = migration_id(s->migration)};
    find_reason(s, err);
    pthread_mutex_lock(&s->lock);
    bool offered = s->offer != NULL,
         broke = err->code == MIG_ERR_PEER_LOST || err->code == MIG_ERR_PEER_TIMEOUT;
    bool may = s->resumable && r != -ECONNABORTED && (offered || broke);
    pthread_mutex_unlock(&s->lock);
    if (!may || is_cancelled(s) || (!offered && source_gave_up(s, err)))
        return r;
    uint64_t began_usec = now_usec();
    migration_set_phase(s->migration, MIG_PHASE_RECONNECTING);
    migration_set_verdict(s->migration, "Waiting for the source, whose connections broke; what came is kept");
    if (offered)
        mig_error_set(err, MIG_ERR_PEER_LOST, 0, "the source came back before this side had noticed a break");
    log_write(LOG_NOTICE, &fields, "The connections of migration %s broke: %s", migration_id(s->migration),
              err->message);
    session_end_receiving(s); /* nothing of theirs arrives from here on */
    s->control = channel_free(s->control);
    pthread_mutex_lock(&s->lock);
    s->failure = MIG_ERROR_INIT; /* *err has it */
    pthread_mutex_unlock(&s->lock);
    r = await_source(s, err);
    if (r < 0)
        return r;
    *err = MIG_ERROR_INIT;
    log_write(LOG_NOTICE, &fields, "Migration %s goes on after %s", migration_id(s->migration),
              FORMAT_USEC(now_usec() - began_usec));
    migration_update(s->migration, count_resume, &began_usec);
    return 0;
}

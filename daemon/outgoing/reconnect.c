/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections that break before the blackout are made anew, and the migration goes on where it was: the
 * bitmaps stay, the destination says what it has in place of what was sent, and the rest of that is dirty
 * again (include/migd-wire.h, "resume"). The workload runs all the while, and the trackers go on.
 *
 * Runs on the worker between rounds: no thread uses a connection meanwhile. The old ones are only shut down
 * until the new ones stand, since the streams still refer to them.
 */
#include "base/clock.h"
#include "base/format.h"
#include "base/log.h"
#include "outgoing/job.h"
#include "outgoing/resume-answer.h"
#include "transport/security.h"
#include <poll.h>
#include <string.h>

#define CONNECT_TIMEOUT_USEC (1200 * USEC_PER_MSEC) /* time for a second SYN */
#define RESUME_TIMEOUT_USEC  (5 * USEC_PER_SEC)     /* the destination ends its old connections first */
#define PAUSE_MIN_USEC       (100 * USEC_PER_MSEC)
#define PAUSE_MAX_USEC       (800 * USEC_PER_MSEC)
#define PONG_TIMEOUT_USEC    (2 * USEC_PER_SEC)

struct line { /* a set of connections that is being made */
    struct channel *control, *pages[WIRE_CONNECTIONS_MAX], *state;
    struct frame_stream stream;
};

static void line_close(struct line *l)
{
    for (size_t i = 0; i < WIRE_CONNECTIONS_MAX; i++)
        l->pages[i] = channel_free(l->pages[i]);
    l->state = channel_free(l->state);
    l->control = channel_free(l->control);
}

static bool broke(const struct mig_error *err)
{
    return err->code == MIG_ERR_PEER_LOST || err->code == MIG_ERR_PEER_TIMEOUT;
}

bool job_may_reconnect(const struct job *j, int r, const struct mig_error *err)
{
    struct migration_options o;
    migration_get_options(j->migration, &o);
    return r < 0 && r != -ECONNABORTED && broke(err) && j->resume_key[0] && o.reconnect_usec > 0 &&
           !j->blackout_usec;
}

struct lost {
    uint64_t pages, began_usec;
    struct page_round part; /* of the round that broke: what it had sent */
};

/* What the destination has of what was sent; from here on its answer is worked in, whatever comes next. */
static int work_in(struct job *j, struct json_object *answer, uint64_t *taken, struct lost *lost,
                   struct mig_error *err)
{
    struct resume_answer a = {.state_taken = taken};
    uint64_t pages;
    if (resume_answer_read(&a, answer, j->granted, j->domain->ndevices) < 0 ||
        page_stream_put_back(j->pages, a.applied, &pages) < 0)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                             "%s answered the resume with values that cannot be", j->destination);
    memcpy(j->resume_key, a.key, sizeof a.key);
    lost->pages += pages;
    return 0;
}

static int resume(struct job *j, struct line *l, uint64_t *taken, struct lost *lost, struct mig_error *err)
{
    struct migration_options o;
    migration_get_options(j->migration, &o);
    int r = security_connect_again(j->security, &l->control, j->destination, &j->place, CONNECT_TIMEOUT_USEC,
                                   j->cancel_fd, err);
    if (r < 0)
        return r;
    frame_stream_init(&l->stream, l->control, true);
    _cleanup_(json_object_putp) struct json_object *hello = json_object_new_object(), *answer = NULL;
    if (!hello || json_add_string(hello, "resume", migration_id(j->migration)) < 0 ||
        json_add_string(hello, "token", j->token) < 0 || json_add_string(hello, "key", j->resume_key) < 0 ||
        (j->grows && json_add_u64(hello, "connections", j->npage_channels) < 0) ||
        json_add_u64(hello, "reconnect-timeout", o.reconnect_usec) < 0)
        return mig_error_oom(err);
    l->control->deadline_usec = deadline_in(RESUME_TIMEOUT_USEC);
    r = dialogue_hello(&l->stream, hello, &answer, err);
    if (r < 0)
        return r;
    l->control->deadline_usec = 0;
    return work_in(j, answer, taken, lost, err);
}

static int connect_all(struct job *j, struct line *l, uint64_t *taken, struct lost *lost,
                       struct mig_error *err)
{
    int r = resume(j, l, taken, lost, err);
    for (size_t i = 0; i < j->npage_channels && r == 0; i++) {
        const struct attachment pages = {"pages", j->resume_key, i, CONNECT_TIMEOUT_USEC};
        r = job_attach(j, &pages, &l->pages[i], err);
    }
    const struct attachment state = {"state", j->resume_key, 0, CONNECT_TIMEOUT_USEC};
    return r < 0 ? r : job_attach(j, &state, &l->state, err);
}

/* The streams go over to the new connections. */
static int change_over(struct job *j, struct line *l, const uint64_t *taken, struct mig_error *err)
{
    int r = state_stream_resume(j->state, l->state, taken, err);
    if (r < 0)
        return r;
    state_stream_set_limit(j->state, NULL);
    pthread_mutex_lock(&j->pages_lock);
    j->live_pages = NULL;
    pthread_mutex_unlock(&j->pages_lock);
    j->pages = page_stream_free(j->pages);
    struct line old = {.control = j->control, .state = j->state_channel};
    memcpy(old.pages, j->page_channels, sizeof old.pages);
    memcpy(j->page_channels, l->pages, sizeof old.pages);
    j->control = l->control;
    j->control_stream = l->stream;
    j->state_channel = l->state;
    memcpy(j->attach_key, j->resume_key, sizeof j->attach_key);
    *l = old; /* to be closed */
    r = job_start_pages(j, true, err);
    if (r < 0)
        return r;
    state_stream_set_limit(j->state, page_stream_limit(j->pages));
    return job_watch_link(j, err);
}

static bool may_try_again(const struct mig_error *err)
{
    return broke(err) || err->code == MIG_ERR_PEER_UNREACHABLE || err->code == MIG_ERR_BUSY;
}

static void explain_end(const struct job *j, struct mig_error *err)
{
    if (err->code != MIG_ERR_NO_SUCH_MIGRATION)
        return;
    mig_error_set(
        err, MIG_ERR_PEER_LOST, 0,
        "%s does not know this migration any more: its migd was restarted or gave it up, and what it "
        "had received is gone",
        j->destination);
    mig_error_hint(err, "start the migration again; the log of migd at %s says why", j->destination);
}

/* Until everything stands, or why it never will. */
static int try_until(struct job *j, const struct mig_error *why, struct lost *lost, struct mig_error *err)
{
    uint64_t pause_usec = PAUSE_MIN_USEC;
    _cleanup_free_ uint64_t *taken = calloc(MAX(j->domain->ndevices, (size_t)1), sizeof *taken);
    if (!taken)
        return mig_error_oom(err);
    for (;;) {
        struct migration_options o; /* as they are now */
        struct line l = {0};
        struct mig_error now = MIG_ERROR_INIT;
        int r = connect_all(j, &l, taken, lost, &now);
        if (r == 0)
            r = change_over(j, &l, taken, &now);
        line_close(&l);
        if (r == 0)
            return 0;
        migration_get_options(j->migration, &o);
        if (!may_try_again(&now)) {
            explain_end(j, &now);
            *err = now;
            return r;
        }
        if (now_usec() >= lost->began_usec + o.reconnect_usec)
            return mig_error_set(
                err, MIG_ERR_PEER_LOST, 0,
                "The connections to %s broke (%.200s) and could not be made again within %s: %.200s",
                j->destination, why->message, FORMAT_USEC(o.reconnect_usec), now.message);
        if (poll(&(struct pollfd){.fd = j->cancel_fd, .events = POLLIN}, 1,
                 (int)(pause_usec / USEC_PER_MSEC)) > 0)
            return mig_error_set(err, MIG_ERR_CANCELLED, 0, "The migration of %s was cancelled",
                                 j->domain->name);
        pause_usec = MIN(pause_usec * 2, PAUSE_MAX_USEC);
    }
}

static void add_part(struct migration_counters *c, void *userdata)
{
    const struct lost *l = userdata;
    /* A frame that did not get out whole has pages that were sent, and will be sent again. So what this side
     * has sent, less what the destination has put in place, is what a break may have lost. */
    c->normal_pages += l->part.begun_pages - l->part.zero_pages;
    c->zero_pages += l->part.zero_pages;
    c->processed_bytes += l->part.payload_bytes;
    c->wire_bytes += l->part.wire_bytes;
    c->packed_bytes += l->part.packed_bytes;
    c->packed_wire_bytes += l->part.packed_wire_bytes;
    uint64_t done = (l->part.normal_pages + l->part.zero_pages) * REGION_PAGE_SIZE;
    c->remaining_bytes -= MIN(c->remaining_bytes, done);
}

static void add_reconnect(struct migration_counters *c, void *userdata)
{
    const struct lost *l = userdata;
    c->reconnects++;
    c->reconnect_usec += now_usec() - l->began_usec;
    c->lost_bytes += l->pages * REGION_PAGE_SIZE;
    c->remaining_bytes += l->pages * REGION_PAGE_SIZE;
}

int job_reconnect(struct job *j, struct mig_error *err)
{
    const struct log_fields fields = {.domain = j->domain->name, .migration = migration_id(j->migration)};
    const struct mig_error why = *err;
    enum mig_phase phase = migration_get_phase(j->migration);
    struct lost lost = {.began_usec = now_usec()};
    log_write(LOG_NOTICE, &fields, "The connections to %s broke: %s; trying to make them again",
              j->destination, why.message);
    migration_set_phase(j->migration, MIG_PHASE_RECONNECTING);
    migration_set_verdict(j->migration, "Reconnecting to %s: %.250s; the workload runs on here",
                          j->destination, why.message);
    page_stream_progress(j->pages, &lost.part);
    page_stream_settled(j->pages);
    migration_update(j->migration, add_part, &lost);
    j->watch = link_watch_free(j->watch);
    j->control->ops->shutdown(j->control);
    j->state_channel->ops->shutdown(j->state_channel);
    for (size_t i = 0; i < j->npage_channels; i++)
        j->page_channels[i]->ops->shutdown(j->page_channels[i]);
    *err = MIG_ERROR_INIT;
    int r = try_until(j, &why, &lost, err);
    if (r < 0)
        return r;
    migration_update(j->migration, add_reconnect, &lost);
    log_write(LOG_NOTICE, &fields, "Connected to %s again after %s; %s that were in flight are sent again",
              j->destination, FORMAT_USEC(now_usec() - lost.began_usec),
              FORMAT_BYTES(lost.pages * REGION_PAGE_SIZE));
    migration_set_phase(j->migration, phase);
    migration_set_verdict(j->migration, "Connected to %s again: going on with round %u", j->destination,
                          j->round);
    return 0;
}

/* Ended by the other side or by the network, whether or not something is still to be read. */
static bool has_ended(const struct channel *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

int job_check_link(struct job *j, struct mig_error *err)
{
    static const char *const names[] = {"pong", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = PONG_TIMEOUT_USEC, .what = "the answer to a ping"};
    if (!j->resume_key[0])
        return 0;
    bool ended = has_ended(j->state_channel);
    for (size_t i = 0; i < j->npage_channels; i++)
        ended |= has_ended(j->page_channels[i]);
    if (ended) {
        mig_error_set(err, MIG_ERR_PEER_LOST, ECONNRESET, "a connection to %s has ended", j->destination);
        return job_explain_break(j, -ECONNRESET, err);
    }
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    int name, r = dialogue_send(&j->control_stream, "ping", NULL, err);
    if (r == 0)
        r = dialogue_receive(&j->control_stream, &expect, &name, &o, NULL, err);
    return r < 0 ? job_explain_break(j, r, err) : 0;
}

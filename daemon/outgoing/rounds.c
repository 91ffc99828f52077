/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Precopy: the full send, then rounds of harvest and send until what is left fits into the downtime that the
 * operator allows, or the policy for a migration that does not converge says otherwise. The workload runs all
 * the while.
 */
#include "base/clock.h"
#include "base/format.h"
#include "base/ratelimit.h"
#include "outgoing/job.h"
#include <stdio.h>
#include <string.h>
#include <poll.h>

/* What a blackout costs besides bytes: two harvests and the answers of the peer are measured in each round;
 * state changes and the calls to the VMM cannot be before they are made. */
#define ASSUMED_FIXED_USEC       (5 * USEC_PER_MSEC)
#define PEER_ANSWERS_IN_BLACKOUT 3
#define HARVESTS_IN_BLACKOUT     2
/* With policy `wait`, and whenever a round found almost nothing: rounds do not follow each other faster than
 * this. */
#define ROUND_INTERVAL_USEC (20 * USEC_PER_MSEC)
#define FENCE_TIMEOUT_USEC  (60 * USEC_PER_SEC)
#define ALIVE_TIMEOUT_USEC                                                                                   \
    (5 * USEC_PER_SEC) /* that long without a word: ask; and so long again: it is dead */
/* Rounds that wait for the initial data of devices: so many that bring nothing nearer, and so many in all. */
#define IDLE_INITIAL_ROUNDS_MAX 10
#define INITIAL_ROUNDS_MAX      64

static int wait_for_fence(struct job *j, struct mig_error *err)
{
    static const char *const names[] = {"fence", "pong", NULL};
    uint64_t deadline_usec = deadline_in(FENCE_TIMEOUT_USEC), round;
    const struct dialogue_expect expect = {.names = names,
                                           .timeout_usec =
                                               j->resume_key[0] ? ALIVE_TIMEOUT_USEC : FENCE_TIMEOUT_USEC,
                                           .what = "the answer to the fence"};
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    bool asked = false;
    for (int name = 1; name != 0;) {
        json_object_put(TAKE_PTR(o));
        int r = dialogue_receive(&j->control_stream, &expect, &name, &o, NULL, err);
        bool late = r < 0 && err->code == MIG_ERR_PEER_TIMEOUT;
        if (late && j->resume_key[0] && !asked && now_usec() < deadline_usec) {
            asked = true; /* a destination that still puts pages in place says at least this */
            *err = MIG_ERROR_INIT;
            r = dialogue_send(&j->control_stream, "ping", NULL, err);
            if (r == 0)
                continue;
        }
        if (r < 0)
            return r;
        asked = false;
    }
    if (json_get_u64(o, "round", &round) < 0 || round != j->round)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s answered the fence of another round",
                             j->destination);
    return 0;
}

struct add_round {
    struct job *job;
    const struct page_round *round;
    bool resent;
};

static void add_round_counters(struct migration_counters *c, void *userdata)
{
    const struct add_round *a = userdata;
    page_stream_settled(a->job->pages);
    c->normal_pages += a->round->normal_pages;
    c->zero_pages += a->round->zero_pages;
    c->processed_bytes += a->round->payload_bytes;
    c->device_bytes = state_stream_device_bytes(a->job->state);
    c->vmm_bytes = state_stream_vmm_bytes(a->job->state);
    c->wire_bytes += a->round->wire_bytes;
    c->packed_bytes += a->round->packed_bytes;
    c->packed_wire_bytes += a->round->packed_wire_bytes;
    if (a->resent) {
        c->resent_bytes += a->round->payload_bytes + a->round->zero_pages * REGION_PAGE_SIZE;
        c->changed_bytes += a->round->changed_pages * REGION_PAGE_SIZE;
        if (c->changed_bytes)
            c->amplification_milli = c->resent_bytes * 1000 / c->changed_bytes;
    }
}

int job_send_round(struct job *j, bool final, struct page_round *ret, struct mig_error *err)
{
    if (!final)
        state_stream_drain(j->state);
    growth_rest(&j->growth);
    int r = page_stream_round(j->pages, j->round, ret, err);
    if (r < 0) /* else a peer that reads state slowly would hold up the way back */
        j->state_channel->ops->shutdown(j->state_channel);
    struct mig_error state_error = MIG_ERROR_INIT;
    int state_r = final ? 0 : state_stream_wait(j->state, &state_error);
    if (r < 0)
        return job_explain_break(j, r, err);
    if (state_r < 0) {
        if (err)
            *err = state_error;
        return job_explain_break(j, state_r, err);
    }
    /* The answer comes when the last page is in place. What was still under way belongs to the round; it says
     * how quick the peer is only when little was. */
    uint64_t began = now_usec();
    r = wait_for_fence(j, err);
    if (r < 0)
        return r;
    page_stream_confirmed(j->pages);
    uint64_t answer_usec = now_usec() - began;
    ret->usec += answer_usec;
    j->answer_usec = MIN(j->answer_usec, answer_usec);
    struct add_round add = {j, ret, j->round > 0};
    migration_update(j->migration, add_round_counters, &add);
    return 0;
}

struct decided {
    const struct convergence_result *result;
    uint64_t pending_bytes;
};

static void set_estimates(struct migration_counters *c, void *userdata)
{
    const struct decided *d = userdata;
    c->remaining_bytes = d->pending_bytes;
    c->dirty_rate = d->result->dirty_rate;
    c->bandwidth = d->result->bandwidth;
    c->expected_downtime_usec = d->result->expected_downtime_usec;
    c->remaining_usec = (uint64_t)((double)d->pending_bytes * USEC_PER_SEC / (double)d->result->bandwidth);
}

static void say_verdict(struct job *j, const struct convergence_result *c, const struct migration_options *o,
                        uint64_t pending)
{
    const char *rate = FORMAT_RATE(c->dirty_rate), *bw = FORMAT_RATE(c->bandwidth),
               *left = FORMAT_BYTES(pending);
    const char *down = FORMAT_USEC(c->expected_downtime_usec), *limit = FORMAT_USEC(o->max_downtime_usec);
    char blind[400];
    job_name_blind(j, blind, sizeof blind);
    switch (c->decision) {
    case CONVERGENCE_SWITCH_OVER:
        migration_set_verdict(j->migration, "Switching over: %s left, expected downtime %s of %s allowed%s",
                              left, down, limit,
                              o->verify == VERIFY_STRICT ? ", and as long as the proof takes" : "");
        break;
    case CONVERGENCE_STALLED:
        migration_set_verdict(j->migration,
                              "Does not converge%s: %s left, dirtied at %s while the link carries %s; a "
                              "switch-over now would take %s of %s allowed (on-stall=%s)",
                              blind, left, rate, bw, down, limit, stall_policy_to_string(o->on_stall));
        break;
    case CONVERGENCE_ANOTHER_ROUND:
        migration_set_verdict(
            j->migration,
            "Another round: %s left, dirtied at %s, link %s, expected downtime %s of %s allowed", left, rate,
            bw, down, limit);
        break;
    }
}

static void remember(struct job *j, const struct convergence_round *r)
{
    if (j->nhistory == JOB_HISTORY_MAX) { /* the oldest half is no longer of interest to any decision */
        memmove(j->history, j->history + JOB_HISTORY_MAX / 2, JOB_HISTORY_MAX / 2 * sizeof *j->history);
        j->nhistory = JOB_HISTORY_MAX / 2;
    }
    j->history[j->nhistory++] = *r;
}

static uint64_t expected_state_bytes(struct job *j)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < j->domain->ndevices; i++) {
        struct device *d = j->domain->devices[i].device;
        uint64_t bytes = 0;
        if (d->ops->info(d)->has_stop_copy_size && d->ops->stop_copy_size(d, &bytes, NULL) == 0)
            sum += bytes;
    }
    return sum;
}

static void tell_round(struct job *j, const struct page_round *sent, const struct convergence_result *c,
                       uint64_t pending, const char *decision)
{
    struct migration_round news = {
        .round = j->round,
        .pages = sent->normal_pages,
        .bytes = sent->payload_bytes,
        .zero_pages = sent->zero_pages,
        .duration_usec = sent->usec,
        .bandwidth = c->bandwidth,
        .dirty_pages = pending / REGION_PAGE_SIZE,
        .dirty_rate = c->dirty_rate,
        .expected_downtime_usec = c->expected_downtime_usec,
    };
    snprintf(news.decision, sizeof news.decision, "%s", decision);
    struct migration_status st;
    migration_get_status(j->migration, &st);
    snprintf(news.verdict, sizeof news.verdict, "%s", st.verdict);
    migration_round_completed(j->migration, &news);
}

/* R11: whether to go on with rounds only because devices have initial data left, which takes the destination
 * long to load. Waiting is for speed, not for correctness: what is not read now comes with the rest. */
static bool wait_for_initial_data(struct job *j)
{
    bool renewed;
    uint64_t left = state_stream_initial_bytes(j->state, &renewed);
    bool nearer = renewed || j->initial_rounds == 0 || left < j->initial_bytes;
    j->initial_bytes = left;
    j->idle_initial_rounds = nearer ? 0 : j->idle_initial_rounds + 1;
    if ((left == 0 && !renewed) || j->idle_initial_rounds >= IDLE_INITIAL_ROUNDS_MAX ||
        j->initial_rounds >= INITIAL_ROUNDS_MAX)
        return false;
    j->initial_rounds++;
    migration_set_verdict(j->migration,
                          "Another round: the memory is ready, but devices still have %s of the state that "
                          "they want to hand out before they are stopped",
                          FORMAT_BYTES(left));
    return true;
}

static int stalled(struct job *j, bool out_of_rounds, struct mig_error *err)
{
    struct migration_status st;
    migration_get_status(j->migration, &st);
    const char *down = FORMAT_USEC(st.counters.expected_downtime_usec);
    int r = mig_error_set(err, MIG_ERR_STALLED, 0, "%s: %s%s", j->domain->name,
                          out_of_rounds ? "no more rounds are allowed: " : "", st.verdict);
    mig_error_hint(err,
                   "DMA cannot be throttled: allow a longer downtime (--max-downtime %s or more), quiet the "
                   "workload, or choose --on-stall force",
                   down);
    return r;
}

static int timed_out(struct job *j, const struct migration_options *o, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_TIMED_OUT, 0, "%s: not ready to switch over within %s", j->domain->name,
                  FORMAT_USEC(o->timeout_usec));
    mig_error_hint(
        err, "Allow more time (--timeout), a longer downtime (--max-downtime), or choose --on-stall force");
    return -ETIME;
}

/* 0: switch over, 1: another round. */
static int decide(struct job *j, const struct page_round *sent, uint64_t pending, struct mig_error *err)
{
    struct migration_options o;
    migration_get_options(j->migration, &o);
    const struct convergence_input in = {
        .rounds = j->history,
        .nrounds = j->nhistory,
        .device_state_bytes = expected_state_bytes(j),
        .fixed_usec = ASSUMED_FIXED_USEC + PEER_ANSWERS_IN_BLACKOUT * j->answer_usec +
                      HARVESTS_IN_BLACKOUT * j->last_harvest_usec,
        .max_downtime_usec = o.max_downtime_usec,
        .bandwidth_cap = ratelimit_share(page_stream_limit(j->pages)),
    };
    struct convergence_result c;
    convergence_decide(&in, &c);
    struct decided d = {&c, pending};
    migration_update(j->migration, set_estimates, &d);
    say_verdict(j, &c, &o, pending);
    bool out_of_rounds =
        o.max_rounds && j->round + 1 >= o.max_rounds && c.decision == CONVERGENCE_ANOTHER_ROUND;
    bool late = o.timeout_usec && now_usec() >= j->precopy_deadline_usec;
    bool out_of_time = late && c.decision != CONVERGENCE_SWITCH_OVER;
    const char *decision = convergence_decision_to_string(out_of_rounds ? CONVERGENCE_STALLED : c.decision);
    bool stall = c.decision == CONVERGENCE_STALLED || out_of_rounds;
    if (out_of_time && o.on_stall != STALL_FORCE) {
        tell_round(j, sent, &c, pending, "timed-out");
        return timed_out(j, &o, err);
    }
    if (c.decision == CONVERGENCE_SWITCH_OVER && !late && !(o.max_rounds && j->round + 1 >= o.max_rounds) &&
        wait_for_initial_data(j)) {
        tell_round(j, sent, &c, pending, convergence_decision_to_string(CONVERGENCE_ANOTHER_ROUND));
        return 1;
    }
    if (c.decision == CONVERGENCE_SWITCH_OVER || ((stall || out_of_time) && o.on_stall == STALL_FORCE)) {
        tell_round(j, sent, &c, pending, c.decision == CONVERGENCE_SWITCH_OVER ? decision : "force");
        return 0;
    }
    tell_round(j, sent, &c, pending, decision);
    if (stall && o.on_stall == STALL_ABORT)
        return stalled(j, out_of_rounds, err);
    return 1;
}

static int check_cancel(struct job *j, uint64_t wait_usec, struct mig_error *err)
{
    struct pollfd p = {.fd = j->cancel_fd, .events = POLLIN};
    if (poll(&p, 1, (int)(wait_usec / USEC_PER_MSEC)) > 0)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0, "The migration of %s was cancelled", j->domain->name);
    return 0;
}

/* 0: yes. 1: the connections had to be made anew, and meanwhile more was written. */
static int ready_to_switch(struct job *j, struct mig_error *err)
{
    int r = job_check_link(j, err);
    if (!job_may_reconnect(j, r, err))
        return r;
    r = job_reconnect(j, err);
    return r < 0 ? r : 1;
}

int job_rounds(struct job *j, struct mig_error *err)
{
    migration_set_phase(j->migration, MIG_PHASE_FULL_SEND);
    uint64_t began_usec = j->harvest_usec = now_usec();
    for (;;) {
        struct migration_options o; /* as they are now */
        migration_get_options(j->migration, &o);
        j->precopy_deadline_usec = o.timeout_usec && o.timeout_usec < USEC_INFINITY - began_usec
                                       ? began_usec + o.timeout_usec
                                       : USEC_INFINITY;
        /* Who forces the switch-over at the end of the time needs the round whole. */
        page_stream_set_deadline(j->pages,
                                 o.on_stall == STALL_FORCE ? USEC_INFINITY : j->precopy_deadline_usec);
        migration_set_round(j->migration, j->round);
        struct page_round sent;
        int r = job_send_round(j, false, &sent, err);
        while (job_may_reconnect(j, r, err)) {
            r = job_reconnect(j, err);
            if (r < 0)
                return r;
            r = job_send_round(j, false, &sent, err);
        }
        page_stream_set_deadline(j->pages, USEC_INFINITY);
        if (r == -ETIME)
            return timed_out(j, &o, err);
        if (r < 0)
            return r;
        r = check_cancel(j, sent.usec < ROUND_INTERVAL_USEC ? (ROUND_INTERVAL_USEC - sent.usec) : 0, err);
        if (r < 0)
            return r;
        r = job_check_gone(j, err);
        if (r < 0)
            return r;
        struct harvest_result found;
        r = harvest_run(&j->set, &found, err);
        if (r == 0)
            r = job_prepare_digests(j, err);
        if (r < 0)
            return r;
        job_publish_trackers(j);
        j->last_harvest_usec = found.usec;
        uint64_t now = now_usec(), pending = harvest_pending_pages(&j->set) * REGION_PAGE_SIZE;
        remember(j, &(struct convergence_round){.sent_bytes = sent.wire_bytes,
                                                .saved_bytes = sent.packed_bytes - sent.packed_wire_bytes,
                                                .duration_usec = sent.usec,
                                                .dirty_bytes = pending,
                                                .dirty_interval_usec = now - j->harvest_usec});
        j->harvest_usec = now;
        r = decide(j, &sent, pending, err);
        if (r < 0 || (r == 0 && (r = ready_to_switch(j, err)) <= 0))
            return r;
        j->round++;
        if (j->round == 1)
            migration_set_phase(j->migration, MIG_PHASE_PRECOPY);
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done while libvirt's migration runs: its figures become migd's, what the operator changes is set,
 * what does not come to an end is forced or aborted. */
#include "base/clock.h"
#include "base/format.h"
#include "libvirt/vm-job.h"
#include "libvirt/vm-news.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TICK_MSEC        100
#define NEAR_END_MSEC    2 /* between looks at the QEMU here, while the guest stands still */
#define ABORT_AGAIN_USEC (500 * USEC_PER_MSEC)
/* The longest that QEMU takes. */
#define DOWNTIME_MAX_MSEC UINT64_C(2000000)
/* Questions in a row for the figures of a job that libvirt does not answer: then there is none. */
#define UNANSWERED_MAX 20
/* A forced switch-over that has not come after this is given more. */
#define FORCE_AGAIN_USEC (2 * USEC_PER_SEC)
#define MIB              (UINT64_C(1) << 20)

/* ---- options that change ---- */

static void set_bandwidth(struct vm_job *j, const struct migration_options *o)
{
    uint64_t mib = vm_plan_cap_mib(&j->plan, o);
    /* 0 is no cap for migd, and for libvirt what it means as a parameter: as much as there is. */
    if (mib != j->bandwidth_mib &&
        virt.virDomainMigrateSetMaxSpeed(j->domain, mib ? mib : INT64_MAX / MIB, 0) == 0)
        j->bandwidth_mib = mib;
}

static void set_downtime(struct vm_job *j, uint64_t msec)
{
    msec = MIN(MAX(msec, UINT64_C(1)), DOWNTIME_MAX_MSEC);
    if (msec != j->max_downtime_msec && virt.virDomainMigrateSetMaxDowntime(j->domain, msec, 0) == 0)
        j->max_downtime_msec = msec;
}

static void set_options(struct vm_job *j, const struct migration_options *o)
{
    set_bandwidth(j, o);
    if (!j->forced)
        set_downtime(j, o->max_downtime_usec / USEC_PER_MSEC);
}

/* ---- figures ---- */

static void count(struct migration_counters *c, void *userdata)
{
    const struct vm_job *j = userdata;
    vm_figures_count(c, &j->figures, false);
    if (!c->memory_bytes)
        c->memory_bytes = j->plan.memory_bytes;
}

static void show_pause(struct vm_job *j)
{
    if (migration_get_phase(j->migration) == MIG_PHASE_PAUSE)
        return;
    migration_set_paused(j->migration, true);
    migration_set_phase(j->migration, MIG_PHASE_PAUSE);
}

static void look_at_pause(struct vm_job *j)
{
    int state = 0, reason = 0;
    if (virt.virDomainGetState(j->domain, &state, &reason, 0) == 0 && state == VIR_DOMAIN_PAUSED &&
        reason == VIR_DOMAIN_PAUSED_MIGRATION)
        show_pause(j);
}

static void look_at_figures(struct vm_job *j)
{
    migration_update(j->migration, count, j);
    if (j->figures.iteration)
        migration_set_round(j->migration, (uint32_t)j->figures.iteration - 1);
    if (j->figures.iteration > 1 && migration_get_phase(j->migration) == MIG_PHASE_FULL_SEND)
        migration_set_phase(j->migration, MIG_PHASE_PRECOPY);
}

/* ---- the policy ---- */

static void stop(struct vm_job *j, const struct mig_error *why)
{
    j->stop = *why;
    j->aborting = true;
}

static void tell_round(struct vm_job *j, const struct vm_round *r, const char *decision)
{
    struct migration_round news = {
        .round = (uint32_t)j->policy.passes - 1,
        .pages = r->round.sent_bytes / 4096,
        .bytes = r->round.sent_bytes,
        .duration_usec = r->round.duration_usec,
        .bandwidth = r->result.bandwidth,
        .dirty_pages = r->round.dirty_bytes / 4096,
        .dirty_rate = r->result.dirty_rate,
        .expected_downtime_usec = r->result.expected_downtime_usec,
    };
    struct migration_status st;
    migration_get_status(j->migration, &st);
    snprintf(news.decision, sizeof news.decision, "%s", decision);
    snprintf(news.verdict, sizeof news.verdict, "%s", st.verdict);
    migration_round_completed(j->migration, &news);
}

static void force(struct vm_job *j, const struct vm_round *r)
{
    uint64_t wanted = r ? r->result.expected_downtime_usec / USEC_PER_MSEC * 2 : 0;
    set_downtime(j, MAX(wanted, j->max_downtime_msec * 4));
    j->forced = true;
    j->force_usec = now_usec();
}

static void stalled(struct vm_job *j, const struct vm_round *r, bool out_of_rounds,
                    const struct migration_options *o)
{
    struct mig_error err = MIG_ERROR_INIT;
    const char *down = FORMAT_USEC(r->result.expected_downtime_usec);
    if (o->on_stall == STALL_WAIT)
        return;
    if (o->on_stall == STALL_FORCE) {
        migration_set_verdict(j->migration,
                              "Switching over by force: %s left, expected downtime %s of %s allowed",
                              FORMAT_BYTES(r->round.dirty_bytes), down, FORMAT_USEC(o->max_downtime_usec));
        force(j, r);
        return;
    }
    struct migration_status st;
    migration_get_status(j->migration, &st);
    mig_error_set(&err, MIG_ERR_STALLED, 0, "%s: %s%s", j->plan.name,
                  out_of_rounds ? "no more rounds are allowed: " : "", st.verdict);
    mig_error_hint(&err,
                   "Allow a longer downtime (--max-downtime %s or more), quiet the guest, choose --on-stall "
                   "force, or --auto-converge, which slows its CPUs but no device's DMA",
                   down);
    stop(j, &err);
}

static void say(struct vm_job *j, const struct vm_round *r, const struct migration_options *o)
{
    const char *left = FORMAT_BYTES(r->round.dirty_bytes), *rate = FORMAT_RATE(r->result.dirty_rate);
    const char *link = FORMAT_RATE(r->result.bandwidth), *limit = FORMAT_USEC(o->max_downtime_usec);
    const char *down = FORMAT_USEC(r->result.expected_downtime_usec);
    if (r->stalled)
        migration_set_verdict(j->migration,
                              "Does not converge: %s left, dirtied at %s while the link carries %s; a "
                              "switch-over now would take %s of %s allowed (on-stall=%s)",
                              left, rate, link, down, limit, stall_policy_to_string(o->on_stall));
    else
        migration_set_verdict(
            j->migration, "%s: %s left, dirtied at %s, link %s, expected downtime %s of %s allowed",
            r->result.decision == CONVERGENCE_SWITCH_OVER ? "Switching over" : "Another round", left, rate,
            link, down, limit);
}

static void apply_policy(struct vm_job *j, const struct migration_options *o)
{
    struct vm_round r;
    bool late = o->timeout_usec && now_usec() - j->began_usec >= o->timeout_usec;
    if (vm_policy_feed(&j->policy, &j->figures, now_usec(), o->max_downtime_usec, vm_plan_cap(&j->plan, o),
                       &r) &&
        !j->forced) {
        bool out_of_rounds = o->max_rounds && j->policy.passes >= o->max_rounds &&
                             r.result.decision == CONVERGENCE_ANOTHER_ROUND;
        bool stall = r.stalled || out_of_rounds;
        say(j, &r, o);
        tell_round(j, &r,
                   stall && o->on_stall == STALL_FORCE ? "force"
                   : stall                             ? "stalled"
                                                       : convergence_decision_to_string(r.result.decision));
        if (stall)
            stalled(j, &r, out_of_rounds, o);
    }
    if (j->forced && now_usec() - j->force_usec >= FORCE_AGAIN_USEC)
        force(j, NULL);
    if (!late || j->aborting || j->forced)
        return;
    if (o->on_stall == STALL_FORCE) {
        migration_set_verdict(j->migration, "Switching over by force: the time of %s is over",
                              FORMAT_USEC(o->timeout_usec));
        force(j, NULL);
        return;
    }
    struct mig_error err = MIG_ERROR_INIT;
    mig_error_set(&err, MIG_ERR_TIMED_OUT, 0, "%s: not ready to switch over within %s", j->plan.name,
                  FORMAT_USEC(o->timeout_usec));
    mig_error_hint(
        &err, "Allow more time (--timeout), a longer downtime (--max-downtime), or choose --on-stall force");
    stop(j, &err);
}

/* ---- the watch ---- */

static void try_abort(struct vm_job *j)
{
    if (now_usec() - j->abort_tried_usec < ABORT_AGAIN_USEC)
        return;
    j->abort_tried_usec = now_usec();
    virt.virDomainAbortJob(j->domain); /* too early or too late are both no harm: the call's end tells */
}

/* False: there is no job of libvirt's any more. */
static bool look(struct vm_job *j)
{
    struct migration_options o;
    if (!vm_may_ask(j) || !j->domain)
        return j->domain != NULL;
    if (vm_figures_ask(&j->figures, j->domain, false) < 0)
        return ++j->unanswered < UNANSWERED_MAX && virt_link_lives(j->link);
    j->unanswered = 0;
    if (!j->figures.active)
        return false;
    migration_get_options(j->migration, &o);
    look_at_figures(j);
    look_at_pause(j);
    if (j->aborting) {
        try_abort(j);
        return true;
    }
    set_options(j, &o);
    if (migration_get_phase(j->migration) != MIG_PHASE_PAUSE)
        apply_policy(j, &o);
    return true;
}

void vm_watch(struct vm_job *j)
{
    j->bandwidth_mib = j->plan.bandwidth_mib;
    for (bool cancelled = false;;) {
        struct pollfd p[] = {{.fd = j->call.end_fd, .events = POLLIN},
                             {.fd = cancelled ? -1 : j->cancel_fd, .events = POLLIN}};
        bool stopped = vm_news_stopped(j->news);
        poll(p, ELEMENTS(p), stopped && !j->resumed_usec ? NEAR_END_MSEC : TICK_MSEC);
        if (j->plan.resume && !j->resumed_usec && vm_process_has_ended(&j->process))
            vm_hand_over(j);
        else
            vm_there_keep(&j->there);
        if (p[0].revents)
            return;
        if (p[1].revents)
            cancelled = j->aborting = true;
        /* Near its end libvirt answers when it has ended QEMU, and the guest would stand still as long. */
        if (stopped && !j->aborting && !j->taken_up) {
            show_pause(j);
            continue;
        }
        bool runs = look(j);
        if (!runs && j->taken_up)
            return;
        /* libvirt has not begun with it, or not told yet. */
        if (!runs && j->aborting && j->domain && vm_may_ask(j))
            try_abort(j);
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The course of an incoming migration on its worker: accept, receive, hand over; or, after a restart, what
 * the record of the daemon before this one left to do. How it ended stands in session.end for the main
 * thread.
 */
#include "incoming/session.h"
#include <stdio.h>
#include <string.h>

static void end_as(struct session *s, enum mig_state state, enum domain_state domain_state,
                   const struct mig_error *err)
{
    s->end.state = state;
    s->end.domain_state = domain_state;
    s->end.error = err ? *err : MIG_ERROR_INIT;
}

static void drop(struct session *s, struct mig_error *err)
{
    migration_set_phase(s->migration, MIG_PHASE_ROLLBACK);
    session_drop(s, s->end.problem, sizeof s->end.problem);
    migration_set_verdict(s->migration, "Dropped: nothing ran here, the source owns the workload");
    end_as(s, err->code == MIG_ERR_CANCELLED ? MIG_STATE_CANCELLED : MIG_STATE_FAILED,
           s->end.problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_WAITING, err);
}

/* After the decision was taken for us, or taken back. */
static void conclude(struct session *s, int r, struct mig_error *err)
{
    if (r == -EINPROGRESS) {
        end_as(s, MIG_STATE_IN_DOUBT, DOMAIN_STATE_IN_DOUBT, err);
    } else if (r < 0 && s->accepted) { /* given back: the record keeps saying so until the source has asked */
        struct record rec;
        migration_set_phase(s->migration, MIG_PHASE_ROLLBACK);
        bool returned = record_read(s->runtime_dir, migration_id(s->migration), true, &rec) == 0 &&
                        rec.state == RECORD_RETURNED;
        migration_set_verdict(s->migration, returned
                                                ? "Given back: nothing ran here, the source runs the workload"
                                                : "Could not run the workload here");
        end_as(s, MIG_STATE_FAILED,
               returned && !s->restored_broken ? DOMAIN_STATE_WAITING : DOMAIN_STATE_BROKEN, err);
        if (!returned)
            snprintf(s->end.problem, sizeof s->end.problem, "%.399s", err->message);
    } else if (r < 0) {
        drop(s, err);
    } else {
        if (mig_error_is_set(err))
            snprintf(s->end.problem, sizeof s->end.problem, "%.399s", err->message);
        migration_set_verdict(s->migration, "Done: the workload runs here");
        end_as(s, MIG_STATE_COMPLETED, s->end.problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, NULL);
    }
}

/* The reason that a thread kept is better than "cancelled", which its wake-up looks like. */
static void prefer_failure(struct session *s, struct mig_error *err)
{
    pthread_mutex_lock(&s->lock);
    struct mig_error failure = s->failure;
    pthread_mutex_unlock(&s->lock);
    struct mig_error told;
    if (migration_explain_cancel(s->migration, &told))
        *err = told;
    else if (mig_error_is_set(&failure) &&
             (!mig_error_is_set(err) || err->code == MIG_ERR_CANCELLED || err->code == MIG_ERR_PEER_LOST))
        *err = failure;
}

static int receive(struct session *s, struct mig_error *err)
{
    migration_set_phase(s->migration, MIG_PHASE_SETUP);
    int r = session_accept(s, err);
    if (r < 0) {
        s->control->cancel_fd = -1;
        dialogue_refuse(&s->control_stream, err);
        return r;
    }
    r = session_receive(s, err);
    if (r == 0)
        r = session_handover(s, err);
    session_end_heartbeat(s);
    if (r < 0 && !s->accepted && r != -EINPROGRESS) {
        prefer_failure(s, err);
        if (!s->control) /* the source was waited for in vain */
            return r;
        s->control->cancel_fd = -1;
        pthread_mutex_lock(&s->send_lock);
        dialogue_abort(&s->control_stream, err);
        pthread_mutex_unlock(&s->send_lock);
    }
    return r;
}

/* The domain lost a part with the daemon that prepared it, and nothing has run: the source may have it back.
 */
static int give_back(struct session *s, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_RETURNED, 0, "Domain %s could not be restored whole: %.300s", s->domain->name,
                  s->end.problem);
    int r = session_write_record(s, RECORD_RETURNED, err);
    return r < 0 ? r : -EREMOTEIO;
}

static int recover(struct session *s, struct mig_error *err)
{
    s->devices_touched = true;
    if (s->recovered_state == RECORD_PREPARED) {
        s->prepared = true;
        migration_set_phase(s->migration, MIG_PHASE_PREPARED);
        int r = session_ask_decision(s, err);
        if (r < 0)
            return r;
        s->accepted = true;
        if (s->restored_broken)
            return give_back(s, err);
        r = session_write_record(s, RECORD_ACCEPTED, err);
        if (r < 0)
            return r;
    } else {
        s->may_have_run = true;
    }
    s->accepted = true;
    migration_set_phase(s->migration, MIG_PHASE_ACCEPTED);
    return session_run_workload(s, err);
}

int session_run(struct session *s)
{
    struct mig_error err = MIG_ERROR_INIT;
    int r = s->recovering ? recover(s, &err) : receive(s, &err);
    if (r < 0 && !mig_error_is_set(&err))
        mig_error_set(&err, MIG_ERR_FAILED, -r, "%s", strerror(-r));
    conclude(s, r, &err);
    session_close(s);
    return r;
}

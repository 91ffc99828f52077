/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The course of an outgoing job on its worker, from the first connection to the word about who runs the
 * workload: set up, rounds, switch-over, then the handover or the way back. Also the course that a restarted
 * daemon takes from a record. How it ended stands in job.end for the main thread.
 */
#include "base/clock.h"
#include "base/log.h"
#include "domain/vmm-log.h"
#include "migration/journal.h"
#include "outgoing/job.h"
#include "outgoing/outcome.h"
#include "outgoing/rollback.h"
#include <stdio.h>
#include <string.h>

#define DEPART_TIMEOUT_USEC (5 * USEC_PER_SEC)

static void stop_tracking(struct job *j)
{
    if (j->tracking) {
        harvest_stop(&j->set);
        vmm_log_stop(j->domain);
    }
    j->tracking = false;
}

static void roll_back(struct job *j, const struct mig_error *why)
{
    bool blackout = j->paused;
    migration_set_phase(j->migration, MIG_PHASE_ROLLBACK);
    if (j->control) { /* the peer's memory is worthless from here on: tell it, but do not wait for it */
        j->control->cancel_fd = -1;
        dialogue_abort(&j->control_stream, why);
    }
    if (j->devices_touched)
        source_run_devices(j->domain, j->end.problem, sizeof j->end.problem);
    if (j->paused)
        source_resume_vmm(j->domain, j->end.problem, sizeof j->end.problem);
    stop_tracking(j);
    migration_set_paused(j->migration, false);
    if (j->recorded) {
        if (blackout)
            job_write_record(j, RECORD_ABORTED, NULL);
        else
            record_remove(j->runtime_dir, migration_id(j->migration), false);
    }
    const char *word = why->code == MIG_ERR_CANCELLED ? "Cancelled" : "Failed";
    if (j->end.problem[0])
        migration_set_verdict(j->migration, "%s, and here not all is as it was: %s", word, j->end.problem);
    else
        migration_set_verdict(j->migration, "%s: the workload runs on here", word);
}

/* libvirt, too, may continue a guest of its own when it gives its part up, but not while its daemon is gone:
 * nobody but migd does it then.
 *
 * Without a record a destination that may still ask would be told that it owns the workload. One that has
 * given it back does not ask any more, and its own record says so. */
static void given_back(struct job *j, bool record_needed)
{
    struct mig_error err;
    int r = job_write_record(j, RECORD_RETURNED, &err);
    if (r < 0 && record_needed) {
        snprintf(
            j->end.problem, sizeof j->end.problem,
            "Not run here, since that cannot be recorded: %.250s. Make room, restart migd and resolve it "
            "again",
            err.message);
        return;
    }
    j->devices_touched = j->paused = true;
    migration_set_phase(j->migration, MIG_PHASE_ROLLBACK);
    source_run_devices(j->domain, j->end.problem, sizeof j->end.problem);
    source_resume_vmm(j->domain, j->end.problem, sizeof j->end.problem);
    source_stop_tracking(j->domain);
    migration_set_paused(j->migration, false);
    job_write_record(j, RECORD_ABORTED, NULL); /* resumed: a successor must not do it again */
    migration_set_verdict(j->migration, "The destination gave the workload back: it runs on here");
}

static void end_as(struct job *j, enum mig_state state, enum domain_state domain_state,
                   const struct mig_error *err)
{
    j->end.state = state;
    j->end.domain_state = domain_state;
    j->end.error = err ? *err : MIG_ERROR_INIT;
}

/* It runs elsewhere for good. */
static void let_vmm_go(struct job *j)
{
    struct controller *c = j->domain->controller;
    struct mig_error err = MIG_ERROR_INIT;
    const struct log_fields fields = migration_log_fields(j->migration, MESSAGE_NONE);
    if (c->ops->depart && c->ops->depart(c, deadline_in(DEPART_TIMEOUT_USEC), &err) < 0)
        log_mig_error(LOG_WARNING, &fields, &err,
                      "The VMM here must not run any more, and could not be told");
}

/* After the decision: the outcome, whatever it takes. */
static void settle(struct job *j, int r, struct mig_error *err)
{
    int word = j->resolution;
    if (r == -EINPROGRESS && word == RESOLUTION_RUN) {
        given_back(j, true);
        end_as(j, MIG_STATE_FAILED, j->end.problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, err);
    } else if (r == -EINPROGRESS && word == RESOLUTION_DROP) {
        source_stop_tracking(j->domain);
        j->tracking = false;
        let_vmm_go(j);
        end_as(j, MIG_STATE_COMPLETED, DOMAIN_STATE_DEPARTED, NULL);
    } else if (r == -EINPROGRESS) { /* the daemon ends; its successor reads the record and asks on */
        end_as(j, MIG_STATE_IN_DOUBT, DOMAIN_STATE_DEPARTED, err);
    } else if (r == -EREMOTEIO) {
        given_back(j, false);
        end_as(j, MIG_STATE_FAILED, j->end.problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, err);
    } else {
        source_stop_tracking(j->domain);
        j->tracking = false;
        let_vmm_go(j);
        end_as(j, MIG_STATE_COMPLETED, DOMAIN_STATE_DEPARTED, NULL);
    }
}

static void say_done(struct job *j)
{
    char who[160];
    uint64_t pages = job_gate_late(j, who, sizeof who);
    if (pages)
        migration_set_verdict(j->migration,
                              "Done: the workload runs at %s. But %s wrote %llu pages here after it had "
                              "been stopped and everything was sent: those writes are lost",
                              j->destination, who, (unsigned long long)pages);
    else
        migration_set_verdict(j->migration, "Done: the workload runs at %s", j->destination);
}

int job_migrate(struct job *j)
{
    struct mig_error err = MIG_ERROR_INIT;
    int r = job_set_up(j, &err);
    if (r == 0)
        r = job_rounds(j, &err);
    if (r == 0)
        r = job_switch_over(j, &err);
    if (r < 0) {
        if (!mig_error_is_set(&err))
            mig_error_set(&err, MIG_ERR_FAILED, -r, "%s", strerror(-r));
        struct mig_error told;
        if (migration_explain_cancel(j->migration, &told) || r == -ECANCELED)
            err = told;
        roll_back(j, &err);
        end_as(j, err.code == MIG_ERR_CANCELLED ? MIG_STATE_CANCELLED : MIG_STATE_FAILED,
               j->end.problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, &err);
        return r;
    }
    r = job_handover(j, &err);
    if (r == 0)
        say_done(j);
    settle(j, r, &err);
    if (r == 0) {
        if (j->options.verify == VERIFY_POST && job_verify_post(j, &err) < 0)
            end_as(j, MIG_STATE_FAILED, DOMAIN_STATE_DEPARTED, &err);
    }
    return r;
}

/* A daemon before this one left a record. */
int job_recover(struct job *j)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (j->record.state == RECORD_COMMITTED || j->record.state == RECORD_ACTIVE) {
        migration_set_phase(j->migration, MIG_PHASE_COMMITTED);
        const struct outcome_question q = {.security = j->security,
                                           .address = j->destination,
                                           .id = migration_id(j->migration),
                                           .token = j->token,
                                           .cancel_fd = j->cancel_fd};
        int r = j->record.state == RECORD_ACTIVE ? 0 : outcome_ask(&q, j->migration, &err);
        if (r == 0)
            migration_set_verdict(j->migration, "Done: the workload runs at %s", j->destination);
        settle(j, r, &err);
        return r;
    }
    bool was_paused = j->record.state == RECORD_INTENT || j->record.state == RECORD_RETURNED;
    mig_error_set(&err, MIG_ERR_FAILED, 0,
                  "migd ended while %s was being migrated; the workload was brought back", j->domain->name);
    migration_set_phase(j->migration, MIG_PHASE_ROLLBACK);
    source_run_devices(j->domain, j->end.problem, sizeof j->end.problem);
    if (was_paused)
        source_resume_vmm(j->domain, j->end.problem, sizeof j->end.problem);
    source_stop_tracking(j->domain);
    if (was_paused)
        job_write_record(j, RECORD_ABORTED, NULL);
    else
        record_remove(j->runtime_dir, migration_id(j->migration), false);
    migration_set_verdict(j->migration, "Recovered after a restart of migd: the workload runs on here");
    end_as(j, MIG_STATE_FAILED, j->end.problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, &err);
    return 0;
}

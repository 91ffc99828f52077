/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * After the decision (design, section 3): the source's record says committed, so it never resumes by itself.
 * It tells the destination, and waits for ACTIVE or RETURNED; when the connection breaks, it asks on new
 * connections until it gets an answer.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "outgoing/job.h"
#include "outgoing/outcome.h"
#include <string.h>

#define ACTIVE_TIMEOUT_USEC (30 * USEC_PER_SEC)

static void set_downtime(struct migration_counters *c, void *userdata)
{
    const struct job *j = userdata;
    c->downtime_usec = now_usec() - j->blackout_usec;
}

/* The peer's answer on the control connection. 0 active, -EREMOTEIO returned, other: not known. */
static int await_answer(struct job *j, struct mig_error *err)
{
    int r = dialogue_send(&j->control_stream, "commit", NULL, err);
    if (r < 0)
        return r;
    static const char *const names[] = {"active", "returned", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = ACTIVE_TIMEOUT_USEC, .what = "the answer ACTIVE"};
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    int name;
    r = dialogue_receive(&j->control_stream, &expect, &name, &o, NULL, err);
    if (r < 0)
        return r;
    if (name == 1) {
        struct mig_error why = MIG_ERROR_INIT;
        dialogue_peer_error(o, "the destination", &why);
        mig_error_set(err, MIG_ERR_RETURNED, 0,
                      "The destination could not run the workload and gave it back: %s", why.message);
        mig_error_hint(err, "%s", why.hint);
        return -EREMOTEIO;
    }
    return 0;
}

int job_handover(struct job *j, struct mig_error *err)
{
    uint64_t since = now_usec();
    /* A cancel that came too late, or the end of the daemon, must not cut the one answer that matters;
     * shutdown of the channel still does. */
    j->control->cancel_fd = -1;
    migration_set_phase(j->migration, MIG_PHASE_COMMITTED);
    struct mig_error answer = MIG_ERROR_INIT;
    int r = await_answer(j, &answer);
    if (r < 0 && r != -EREMOTEIO) {
        const struct outcome_question q = {.security = j->security,
                                           .address = j->destination,
                                           .id = migration_id(j->migration),
                                           .token = j->token,
                                           .cancel_fd = j->cancel_fd};
        r = outcome_ask(&q, j->migration, &answer);
    }
    JOB_ACCOUNT(j, downtime_resume_usec, &since);
    migration_update(j->migration, set_downtime, j);
    if (r == 0) {
        job_write_record(j, RECORD_ACTIVE, NULL);
        dialogue_send(&j->control_stream, "done", NULL, NULL);
    } else if (err) {
        *err = answer;
    }
    return r;
}

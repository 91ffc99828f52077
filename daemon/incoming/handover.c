/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The destination's half of the handover (design, section 3): load, answer PREPARED, and from then on do only
 * what the source decides. COMMIT is recorded as ACCEPTED before anything runs. When the connection breaks in
 * between, the source is asked for its decision until it answers or the operator says a word.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "incoming/session.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define VMM_TIMEOUT_USEC      (30 * USEC_PER_SEC)
#define ALIVE_TIMEOUT_USEC    (2 * USEC_PER_SEC)
#define DECISION_TIMEOUT_USEC (120 * USEC_PER_SEC)
#define DONE_TIMEOUT_USEC     (5 * USEC_PER_SEC)
#define ASK_INTERVAL_MSEC     500

int session_write_record(struct session *s, enum record_state state, struct mig_error *err)
{
    struct record rec = {.incoming = true, .state = state};
    snprintf(rec.id, sizeof rec.id, "%s", migration_id(s->migration));
    snprintf(rec.domain, sizeof rec.domain, "%s", s->domain->name);
    snprintf(rec.peer, sizeof rec.peer, "%s", s->decision_address);
    snprintf(rec.peer_name, sizeof rec.peer_name, "%s", s->source_name);
    snprintf(rec.token, sizeof rec.token, "%s", s->token);
    return record_write(s->runtime_dir, &rec, err);
}

/* Everything is here: the devices take their state over, the VMM its own. Nothing runs. */
static int load(struct session *s, struct mig_error *err)
{
    for (size_t i = 0; i < s->domain->ndevices; i++) {
        struct device *d = s->domain->devices[i].device;
        int r = d->ops->set_state(d, DEVICE_STATE_STOP, NULL, err);
        if (r < 0)
            return mig_error_wrap(err, "Device %s does not take the state over", d->name);
    }
    struct controller *c = s->domain->controller;
    int fd = state_apply_vmm_fd(s->state);
    if (fd >= 0 && state_apply_vmm_bytes(s->state) > 0) {
        int r = session_note_digests(s, err);
        if (r < 0)
            return r;
        r = c->ops->load(c, fd, deadline_in(VMM_TIMEOUT_USEC), err);
        if (r < 0)
            return mig_error_wrap(err, "The VMM does not take its state over");
    }
    return 0;
}

static int say(struct session *s, const char *name, struct mig_error *err)
{
    pthread_mutex_lock(&s->send_lock);
    int r = dialogue_send(&s->control_stream, name, NULL, err);
    pthread_mutex_unlock(&s->send_lock);
    return r;
}

static int verify(struct session *s, struct mig_error *err)
{
    migration_set_phase(s->migration, MIG_PHASE_VERIFY);
    int r = session_send_digests(s, err);
    if (r < 0)
        return r;
    migration_set_phase(s->migration, MIG_PHASE_PREPARED);
    return say(s, "verified", err);
}

/* 0: commit. -ECONNABORTED: the source aborted. Everything else means that its decision is not known. */
static int await_decision(struct session *s, struct mig_error *err)
{
    static const char *const names[] = {"commit", "verify", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = DECISION_TIMEOUT_USEC, .what = "the source's decision"};
    for (;;) {
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name, r = dialogue_receive(&s->control_stream, &expect, &name, &o, NULL, err);
        if (r < 0 || name == 0)
            return r;
        r = verify(s, err);
        if (r < 0)
            return r;
    }
}

int session_ask_decision(struct session *s, struct mig_error *err)
{
    bool told = false;
    for (;;) {
        char word[32] = "";
        struct mig_error why = MIG_ERROR_INIT;
        int r = s->decision_address[0] ? dialogue_ask(s->security, s->decision_address, s->source_name,
                                                      "query", migration_id(s->migration), s->token,
                                                      s->cancel_fd, word, sizeof word, &why)
                                       : mig_error_set(&why, MIG_ERR_PEER_UNREACHABLE, 0,
                                                       "the source named no address for questions");
        if (s->resolution == 1)
            return 0;
        if (s->resolution == 2 || (r == 0 && strcmp(word, "aborted") == 0))
            return mig_error_set(err, s->resolution ? MIG_ERR_CANCELLED : MIG_ERR_FAILED, ECANCELED,
                                 s->resolution ? "The operator gave the workload up here"
                                               : "The source did not commit: it goes on with the workload");
        if (r == 0 && strcmp(word, "committed") == 0)
            return 0;
        if (!told) {
            struct mig_error doubt;
            mig_error_set(
                &doubt, MIG_ERR_IN_DOUBT, 0,
                "The source was lost after this side was prepared, and its decision is not known: %s",
                r < 0 ? why.message : "it has not decided");
            bool can_ask = s->decision_address[0] != '\0';
            mig_error_hint(
                &doubt,
                "%s%s. If the source is gone for good, or runs: migctl resolve %.8s --run or --drop here",
                can_ask ? "migd keeps asking " : "Its listener is off, so it cannot be asked: look there",
                s->decision_address, migration_id(s->migration));
            migration_set_verdict(s->migration, "In doubt: %s%s%s; nothing runs here",
                                  can_ask ? "asking " : "nobody can be asked for the decision",
                                  s->decision_address, can_ask ? " for the decision" : "");
            migration_end(s->migration, MIG_STATE_IN_DOUBT, &doubt);
            told = true;
        }
        /* The operator's word comes through cancel_fd as well: look at it before the end of the daemon. */
        if (poll(&(struct pollfd){.fd = s->cancel_fd, .events = POLLIN}, 1, ASK_INTERVAL_MSEC) > 0 &&
            !s->resolution) {
            mig_error_set(err, MIG_ERR_IN_DOUBT, 0, "migd ended before the source's decision was known");
            return -EINPROGRESS;
        }
    }
}

static bool device_runs(struct device *d)
{
    enum device_state now;
    return d->ops->get_state(d, &now, NULL) == 0 && now == DEVICE_STATE_RUNNING;
}

static int run_devices(struct session *s, bool *some_ran, struct mig_error *err)
{
    struct domain *d = s->domain;
    bool p2p = d->ndevices > 1 && !domain_find_without_p2p(d);
    for (int step = p2p ? 0 : 1; step < 2; step++) {
        for (size_t i = 0; i < d->ndevices; i++) {
            struct device *dev = d->devices[i].device;
            if (s->may_have_run && device_runs(dev))
                continue; /* the quiet state would only stop it again */
            int r = dev->ops->set_state(dev, step == 0 ? DEVICE_STATE_RUNNING_P2P : DEVICE_STATE_RUNNING,
                                        NULL, err);
            if (r < 0)
                return mig_error_wrap(err, "Running device %s", dev->name);
            *some_ran |= step == 1; /* a quiet device has done nothing yet */
        }
    }
    return 0;
}

/* A device that was started may have written to the world: then the workload cannot go back, and stays here
 * with what runs. Nor can it when a daemon before this one may have started something. */
int session_run_workload(struct session *s, struct mig_error *err)
{
    migration_set_phase(s->migration, MIG_PHASE_RESUME);
    bool some_ran = s->may_have_run;
    struct mig_error why = MIG_ERROR_INIT;
    struct controller *c = s->domain->controller;
    int r = fault_point("cannot-run");
    if (r < 0)
        mig_error_set(&why, MIG_ERR_FAILED, -r, "Fault point cannot-run");
    /* Devices first, because a VMM may touch them as soon as it runs. So before the first of them does
     * anything: is there somebody to resume? */
    if (r == 0 && c->ops->alive && !s->may_have_run)
        r = c->ops->alive(c, deadline_in(ALIVE_TIMEOUT_USEC), &why);
    if (r == 0)
        r = run_devices(s, &some_ran, &why);
    if (r < 0 && !some_ran) {
        struct mig_error record_error;
        for (size_t i = 0; i < s->domain->ndevices; i++) {
            struct device *d = s->domain->devices[i].device;
            d->ops->set_state(d, DEVICE_STATE_STOP, NULL, NULL);
        }
        if (session_write_record(s, RECORD_RETURNED, &record_error) == 0) {
            *err = why;
            return r;
        }
    }
    c->arrives = true;
    int vmm = c->ops->resume(c, deadline_in(VMM_TIMEOUT_USEC), r < 0 ? NULL : &why);
    c->arrives = false;
    if (vmm < 0 && (!s->may_have_run || c->ops->resume_settles) &&
        !s->domain->ndevices) { /* nothing has run: a VMM that cannot resume gives the workload back */
        struct mig_error record_error;
        if (session_write_record(s, RECORD_RETURNED, &record_error) == 0) {
            *err = why;
            return vmm;
        }
    }
    if (mig_error_is_set(&why)) { /* it runs here, damaged: the domain says so */
        const struct log_fields fields = {.domain = s->domain->name, .migration = migration_id(s->migration)};
        log_mig_error(LOG_ERR, &fields, &why, "The workload runs here, but not all of it");
        *err = why;
    }
    session_write_record(s, RECORD_ACTIVE, NULL);
    return 0;
}

static void tell_returned(struct session *s, const struct mig_error *why)
{
    struct json_object *o = json_object_new_object();
    if (o && json_add_string(o, "error", mig_error_word(why->code)) == 0 &&
        json_add_string(o, "text", why->message) == 0 && json_add_string(o, "hint", why->hint) == 0) {
        pthread_mutex_lock(&s->send_lock);
        dialogue_send(&s->control_stream, "returned", TAKE_PTR(o), NULL);
        pthread_mutex_unlock(&s->send_lock);
    }
    json_object_put(o);
}

static int prepare(struct session *s, struct mig_error *err)
{
    int r = load(s, err);
    if (r < 0)
        return r;
    if (migration_forbid_cancel(s->migration) < 0)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0,
                             "The migration of %s was cancelled at the destination", s->domain->name);
    r = session_write_record(s, RECORD_PREPARED, err);
    if (r < 0)
        return r;
    s->prepared = true;
    migration_set_verdict(s->migration, "Prepared: waiting for the source's decision");
    migration_set_phase(s->migration, MIG_PHASE_PREPARED);
    r = fault_point("in-before-prepared");
    session_end_heartbeat(s);
    return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "Fault point in-before-prepared")
                 : say(s, "prepared", err);
}

int session_handover(struct session *s, struct mig_error *err)
{
    int r = prepare(s, err);
    if (r == 0)
        r = await_decision(s, err);
    if (r < 0 && s->prepared && r != -ECONNABORTED) {
        mig_error_clear(err);
        r = session_ask_decision(s, err);
    }
    if (r < 0)
        return r;
    r = session_write_record(s, RECORD_ACCEPTED, err); /* before anything runs */
    if (r < 0) {
        tell_returned(s, err);
        return r;
    }
    s->accepted = true;
    migration_set_phase(s->migration, MIG_PHASE_ACCEPTED);
    session_end_receiving(s);
    r = session_run_workload(s, err);
    if (r < 0) {
        tell_returned(s, err);
        return r;
    }
    if (say(s, "active", NULL) == 0) {
        static const char *const names[] = {"done", NULL};
        const struct dialogue_expect expect = {
            .names = names, .timeout_usec = DONE_TIMEOUT_USEC, .what = "DONE"};
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name;
        s->source_knows = dialogue_receive(&s->control_stream, &expect, &name, &o, NULL, NULL) == 0;
    }
    return 0;
}

/* It has been given state, and not been told to take it over. */
static bool is_filling(struct session *s, struct device *d)
{
    enum device_state now;
    return s->state && state_apply_has_touched(s->state, d) &&
           (d->ops->get_state(d, &now, NULL) < 0 || now == DEVICE_STATE_RESUMING);
}

void session_drop(struct session *s, char *problem, size_t size)
{
    session_end_receiving(s);
    for (size_t i = 0; s->devices_touched && i < s->domain->ndevices; i++) {
        struct device *d = s->domain->devices[i].device;
        struct mig_error err = MIG_ERROR_INIT;
        /* What it took must not run. One that was told to take it over stands in STOP already. One that was
         * interrupted before that might take over what is damaged when it is told STOP: a reset empties it.
         */
        if ((is_filling(s, d) || d->ops->set_state(d, DEVICE_STATE_STOP, NULL, NULL) < 0) &&
            (d->ops->reset(d, &err) < 0 || d->ops->set_state(d, DEVICE_STATE_STOP, NULL, &err) < 0)) {
            const struct log_fields fields = {
                .domain = s->domain->name, .migration = migration_id(s->migration), .device = d->name};
            log_mig_error(LOG_ERR, &fields, &err,
                          "Emptying a device after a migration that did not come to be");
            if (!problem[0])
                snprintf(problem, size, "Device %s could not be emptied: %.300s", d->name, err.message);
        }
    }
    record_remove(s->runtime_dir, migration_id(s->migration), true);
}

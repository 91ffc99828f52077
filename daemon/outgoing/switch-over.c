/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The blackout up to the decision (R4, R5): pause the VMM, bring every device to its peer-to-peer quiet
 * state, stop every device, read all trackers for the last time, send what they found and the device state
 * beside it, wait until the destination is PREPARED, ask the gate, write the decision record.
 *
 * The order is the proof: a page that is dirty after the final read was written by a device that should be
 * quiet.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/format.h"
#include "outgoing/job.h"
#include <stdio.h>
#include <string.h>

#define PAUSE_TIMEOUT_USEC   (10 * USEC_PER_SEC)
#define PREPARE_TIMEOUT_USEC (60 * USEC_PER_SEC)
/* A destination digests all of its memory before its VMM loads: at this rate at the least. */
#define DIGEST_BYTES_PER_USEC  500
#define HEARTBEAT_TIMEOUT_USEC (8 * USEC_PER_SEC) /* eight of them that did not come */
/* A peer, or a link, that only trickles must not keep a paused workload waiting. */
#define SEND_LIMIT_MIN_USEC (10 * USEC_PER_SEC)
#define SEND_LIMIT_FACTOR   4
#define VMM_STATE_BYTES                                                                                      \
    (UINT64_C(16) << 20) /* taken for the size of what a VMM saves, which it does not tell */

struct account {
    size_t offset;
    uint64_t usec;
};

static void account(struct migration_counters *c, void *userdata)
{
    const struct account *a = userdata;
    uint64_t value;
    memcpy(&value, (char *)c + a->offset, sizeof value);
    value += a->usec;
    memcpy((char *)c + a->offset, &value, sizeof value);
}

void job_account(struct job *j, size_t counter_offset, uint64_t *since_usec)
{
    uint64_t now = now_usec();
    struct account a = {counter_offset, now - *since_usec};
    *since_usec = now;
    migration_update(j->migration, account, &a);
}

static int stop_device(struct domain_device *d, enum device_state state, struct mig_error *err)
{
    enum device_state reached = DEVICE_STATE_ERROR;
    int r = d->device->ops->set_state(d->device, state, &reached, err);
    return r < 0 ? mig_error_wrap(err, "Stopping device %s (to %s, it is in %s)", d->device->name,
                                  device_state_to_string(state), device_state_to_string(reached))
                 : 0;
}

/* Every device is quiet towards its peers before the first is stopped: a device that stops alone may be
 * written to by another. */
static int quiesce(struct job *j, struct mig_error *err)
{
    struct domain *d = j->domain;
    int r = 0;
    j->devices_touched = true;
    if (!domain_find_without_p2p(d)) {
        for (size_t i = 0; i < d->ndevices && r == 0; i++) {
            bool precopy = domain_device_precopies(&d->devices[i]);
            r = stop_device(&d->devices[i], precopy ? DEVICE_STATE_PRE_COPY_P2P : DEVICE_STATE_RUNNING_P2P,
                            err);
        }
    }
    for (size_t i = 0; i < d->ndevices && r == 0; i++)
        r = stop_device(&d->devices[i], DEVICE_STATE_STOP_COPY, err);
    return r;
}

static void set_final_bytes(struct migration_counters *c, void *userdata)
{
    c->final_bytes = *(const uint64_t *)userdata;
    c->remaining_bytes = 0;
}

/* What devices still have to send; false when one of them cannot tell. */
static bool know_state_bytes(const struct job *j, uint64_t *ret)
{
    *ret = controller_has_state(j->domain->controller) ? VMM_STATE_BYTES : 0;
    for (size_t i = 0; i < j->domain->ndevices; i++) {
        struct device *d = j->domain->devices[i].device;
        uint64_t bytes = 0;
        if (!d->ops->info(d)->has_stop_copy_size || d->ops->stop_copy_size(d, &bytes, NULL) < 0)
            return false;
        *ret += bytes;
    }
    return true;
}

static void set_deadlines(struct job *j, uint64_t pages_usec, uint64_t state_usec)
{
    for (size_t i = 0; i < j->npage_channels; i++)
        j->page_channels[i]->deadline_usec = pages_usec;
    j->control->deadline_usec = pages_usec;
    j->state_channel->deadline_usec = state_usec;
}

/* How long sending may take in all, however steadily something moves. The threads that send are idle. */
static uint64_t limit_sending(struct job *j)
{
    struct migration_status st;
    uint64_t state_bytes, bytes = harvest_pending_pages(&j->set) * REGION_PAGE_SIZE;
    migration_get_status(j->migration, &st);
    uint64_t limit = st.options.blackout_limit_usec;
    bool known = know_state_bytes(j, &state_bytes), chosen = limit > 0;
    if (!chosen) {
        bytes += known ? state_bytes : 0;
        limit = SEND_LIMIT_MIN_USEC;
        if (st.counters.bandwidth)
            limit = MAX(limit, (uint64_t)((double)bytes * SEND_LIMIT_FACTOR * USEC_PER_SEC /
                                          (double)st.counters.bandwidth));
    }
    uint64_t deadline_usec = deadline_in(limit);
    set_deadlines(j, deadline_usec, known || chosen ? deadline_usec : 0);
    return deadline_usec;
}

static int took_too_long(struct job *j, struct mig_error *err)
{
    mig_error_set(
        err, MIG_ERR_PEER_TIMEOUT, 0,
        "Sending the last pages and the device state to %s took longer than may be: the workload stood "
        "still for %s",
        j->destination, FORMAT_USEC(now_usec() - j->blackout_usec));
    mig_error_hint(err,
                   "look at the link and at the load of the destination; --blackout-limit allows more time");
    return -err->err;
}

/* Pages by the page connections, device and VMM state by the state connection, at the same time. */
static int send_final(struct job *j, uint64_t *since, struct mig_error *err)
{
    migration_set_phase(j->migration, MIG_PHASE_FINAL_PAGES);
    uint64_t deadline_usec = limit_sending(j);
    state_stream_finish(j->state);
    struct page_round sent;
    int r = job_send_round(j, true, &sent, err);
    JOB_ACCOUNT(j, downtime_pages_usec, since);
    if (r == 0) {
        migration_update(j->migration, set_final_bytes, &sent.payload_bytes);
        migration_set_phase(j->migration, MIG_PHASE_DEVICE_STATE);
    } else {
        j->state_channel->ops->shutdown(j->state_channel); /* what is still under way is of no use */
    }
    struct mig_error state_error = MIG_ERROR_INIT;
    int state_r = state_stream_wait(j->state, &state_error); /* always: its thread uses devices and VMM */
    JOB_ACCOUNT(j, downtime_device_usec, since);
    bool late = now_usec() >= deadline_usec;
    set_deadlines(j, 0, 0);
    if (r == 0 && state_r < 0) {
        *err = state_error;
        r = job_explain_break(j, state_r, err);
    }
    bool broke = r < 0 && (err->code == MIG_ERR_PEER_LOST || err->code == MIG_ERR_PEER_TIMEOUT);
    return late && broke ? took_too_long(j, err) : r;
}

static void set_state_bytes(struct migration_counters *c, void *userdata)
{
    const struct job *j = userdata;
    c->device_bytes = state_stream_device_bytes(j->state);
    c->vmm_bytes = state_stream_vmm_bytes(j->state);
}

static int too_slow(const struct job *j, uint64_t timeout_usec, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_PEER_TIMEOUT, 0,
                          "%s did not take the state over within %llu s, though migd there is alive",
                          j->destination, (unsigned long long)(timeout_usec / USEC_PER_SEC));
    mig_error_hint(err, "look at the devices and at the VMM of the workload there: one of them does not come "
                        "to an end with its state");
    return r;
}

static uint64_t prepare_timeout(const struct job *j)
{
    uint64_t bytes = 0;
    for (size_t i = 0; j->options.verify == VERIFY_STRICT && i < j->set.nregions; i++)
        bytes += j->regions[i]->size_bytes;
    return PREPARE_TIMEOUT_USEC + bytes / DIGEST_BYTES_PER_USEC;
}

/* Loading may take its time, but a destination that says nothing at all is not waited for: the workload is
 * paused. */
static int await_prepared(struct job *j, struct mig_error *err)
{
    static const char *const names[] = {"prepared", "loading", NULL}, *const old_names[] = {"prepared", NULL};
    uint64_t timeout_usec = prepare_timeout(j), until_usec = deadline_in(timeout_usec), now;
    while ((now = now_usec()) < until_usec) {
        const struct dialogue_expect expect = {
            .names = j->heartbeat ? names : old_names,
            .timeout_usec = j->heartbeat ? MIN(HEARTBEAT_TIMEOUT_USEC, until_usec - now) : timeout_usec,
            .what = "the answer PREPARED"};
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name, r = dialogue_receive(&j->control_stream, &expect, &name, &o, NULL, err);
        if (r < 0 && err && err->code == MIG_ERR_PEER_TIMEOUT)
            mig_error_hint(err,
                           "check that migd at %s runs, and that its host is not out of memory or stands "
                           "still",
                           j->destination);
        if (r < 0 || name == 0)
            return r;
    }
    return too_slow(j, timeout_usec, err);
}

static int prepare(struct job *j, struct mig_error *err)
{
    migration_update(j->migration, set_state_bytes, j);
    migration_set_phase(j->migration, MIG_PHASE_PREPARE);
    int r = dialogue_send(&j->control_stream, "prepare", NULL, err);
    if (r < 0)
        return job_explain_break(j, r, err);
    return await_prepared(j, err);
}

int job_switch_over(struct job *j, struct mig_error *err)
{
    /* First the record: a daemon that is killed from here on must find what it has to undo. */
    int r = job_write_record(j, RECORD_INTENT, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < j->npage_channels; i++)
        j->page_channels[i]->renewable = false; /* not now */
    job_end_growth(j);
    uint64_t since = j->blackout_usec = now_usec();
    migration_set_phase(j->migration, MIG_PHASE_PAUSE);
    struct controller *c = j->domain->controller;
    j->paused = true; /* also when the call fails: it may have half happened, and Resume is idempotent */
    migration_set_paused(j->migration, true);
    r = c->ops->pause(c, deadline_in(PAUSE_TIMEOUT_USEC), err);
    if (r < 0)
        return mig_error_wrap(err, "Pausing the VMM of %s", j->domain->name);
    JOB_ACCOUNT(j, downtime_pause_usec, &since);

    migration_set_phase(j->migration, MIG_PHASE_QUIESCE);
    r = quiesce(j, err);
    JOB_ACCOUNT(j, downtime_quiesce_usec, &since);
    if (r < 0)
        return r;

    migration_set_phase(j->migration, MIG_PHASE_FINAL_READ);
    j->round++;
    migration_set_round(j->migration, j->round);
    struct harvest_result found;
    r = harvest_run_last(&j->set, &found, err);
    if (r == 0)
        r = job_prepare_digests(j, err);
    JOB_ACCOUNT(j, downtime_final_read_usec, &since);
    if (r < 0)
        return mig_error_wrap(err, "The final read of the trackers");
    job_publish_trackers(j);

    r = send_final(j, &since, err);
    if (r < 0)
        return r;
    r = prepare(j, err);
    JOB_ACCOUNT(j, downtime_load_usec, &since);
    if (r < 0)
        return r;
    r = job_gate(j, err);
    JOB_ACCOUNT(j, downtime_gate_usec, &since);
    if (r < 0)
        return r;
    if (j->options.verify == VERIFY_STRICT) {
        r = job_verify_strict(j, err);
        JOB_ACCOUNT(j, downtime_verify_usec, &since);
        if (r < 0)
            return r;
    }
    if (migration_begin_commit(j->migration) < 0)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0, "The migration of %s was cancelled", j->domain->name);
    r = fault_point("before-decision");
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Fault point before-decision");
    r = job_write_record(j, RECORD_COMMITTED, err);
    JOB_ACCOUNT(j, downtime_commit_usec, &since);
    return r;
}

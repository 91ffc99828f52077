/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Outgoing migrations towards the bus: starts the worker, hands it the domain, and takes the end on the main
 * thread. The engine object lives as long as its migration; the domain is given back when the worker has
 * ended.
 */
#include "outgoing/outgoing.h"
#include "base/clock.h"
#include "base/log.h"
#include "loop/worker.h"
#include "outgoing/job.h"
#include "outgoing/outcome.h"
#include "outgoing/rollback.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

enum resolution { RESOLUTION_NONE, RESOLUTION_RUN, RESOLUTION_DROP };

struct engine {
    struct outgoing_context context;
    struct migration *migration; /* it owns us */
    struct domain *domain;       /* reference; NULL once given back */
    struct worker *worker;
    pthread_mutex_t pages_lock; /* pages against the main thread's set_bandwidth */
    struct page_stream *pages;
    struct job job;
    bool recovering; /* no precopy: a daemon before us began this migration */
    struct record record;
    _Atomic int resolution;
    char problem[400];
    enum domain_state end_state;
    enum mig_state result;
    struct mig_error error;
};

static int random_token(char token[33])
{
    uint8_t bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return -EIO;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

/* What a domain must have before the peer is bothered. */
static int check_domain(struct domain *d, const struct migration_options *o, struct mig_error *err)
{
    if (!d->nmemory) {
        mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "Domain %s has no memory", d->name);
        mig_error_hint(err, "Register its memory first: migctl register --memory, or Domain.AddMemory");
        return -err->err;
    }
    for (size_t i = 0; i < d->ndevices; i++) {
        struct device *dev = d->devices[i].device;
        if (device_migration_flags(dev) & DEVICE_MIGRATION_STOP_COPY)
            continue;
        mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "Device %s of domain %s does not support migration",
                      dev->name, d->name);
        mig_error_hint(err, "Its driver or server offers no STOP_COPY state; unplug the device from the "
                            "workload and release it from the domain first");
        return -err->err;
    }
    const struct domain_device *lacking = domain_find_without_p2p(d);
    if (d->ndevices > 1 && lacking && !o->without_p2p) {
        mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                      "Domain %s has %zu devices, and %s has no peer-to-peer quiet state: while one is "
                      "stopped another could still write to it",
                      d->name, d->ndevices, lacking->device->name);
        mig_error_hint(err, "If no device writes to another, say so with --without-p2p");
        return -err->err;
    }
    return 0;
}

static int prepare_job(struct engine *e, struct mig_error *err)
{
    struct job *j = &e->job;
    struct domain *d = e->domain;
    j->regions = calloc(d->nmemory ? d->nmemory : 1, sizeof *j->regions);
    if (!j->regions)
        return mig_error_oom(err);
    for (size_t i = 0; i < d->nmemory; i++)
        j->regions[i] = d->memory[i].region;
    j->set = (struct harvest_set){
        .trackers = d->trackers, .ntrackers = d->ntrackers, .regions = j->regions, .nregions = d->nmemory};
    return 0;
}

/* For the proof, and for a gate that cannot ask a tracker. Whether a tracker can answer is known once it has
 * started. */
static int prepare_digests(struct job *j, struct mig_error *err)
{
    const struct domain *d = j->domain;
    bool digests = j->options.verify != VERIFY_OFF;
    for (size_t i = 0; i < d->ntrackers; i++)
        digests |= tracker_is_blind(d->trackers[i]);
    if (!digests)
        return 0;
    j->sent_digests = calloc(d->nmemory, sizeof *j->sent_digests);
    for (size_t i = 0; j->sent_digests && i < d->nmemory; i++) {
        j->sent_digests[i] = calloc(j->regions[i]->npages, sizeof **j->sent_digests);
        if (!j->sent_digests[i])
            return mig_error_oom(err);
    }
    return j->sent_digests ? 0 : mig_error_oom(err);
}

static int start_streams(struct engine *e, struct mig_error *err)
{
    struct job *j = &e->job;
    const struct page_stream_options o = {.checksum = j->options.checksum,
                                          .cancel_fd = j->cancel_fd,
                                          .sent_digests = (uint64_t *const *)j->sent_digests};
    int r =
        page_stream_new(&j->pages, j->page_channels, j->npage_channels, j->regions, j->set.nregions, &o, err);
    if (r < 0)
        return r;
    struct migration_options now;
    migration_get_options(j->migration, &now);
    page_stream_set_bandwidth(j->pages, now.bandwidth_bytes_per_sec);
    pthread_mutex_lock(&e->pages_lock);
    e->pages = j->pages;
    pthread_mutex_unlock(&e->pages_lock);
    _cleanup_free_ struct state_source *sources =
        calloc(e->domain->ndevices ? e->domain->ndevices : 1, sizeof *sources);
    if (!sources)
        return mig_error_oom(err);
    for (size_t i = 0; i < e->domain->ndevices; i++) {
        struct domain_device *d = &e->domain->devices[i];
        sources[i].device = d->device;
        sources[i].precopy = domain_device_precopies(d);
    }
    return state_stream_new(&j->state, j->state_channel, j->options.checksum, sources, e->domain->ndevices,
                            controller_has_state(e->domain->controller), j->cancel_fd, err);
}

static int start_devices(struct job *j, struct mig_error *err)
{
    for (size_t i = 0; i < j->domain->ndevices; i++) {
        struct domain_device *d = &j->domain->devices[i];
        if (!domain_device_precopies(d))
            continue;
        j->devices_touched = true;
        int r = d->device->ops->set_state(d->device, DEVICE_STATE_PRE_COPY, NULL, err);
        if (r < 0)
            return mig_error_wrap(err, "Starting to save device %s", d->device->name);
    }
    return 0;
}

static void set_totals(struct migration_counters *c, void *userdata)
{
    const struct job *j = userdata;
    c->memory_bytes = c->remaining_bytes = 0;
    for (size_t i = 0; i < j->set.nregions; i++)
        c->memory_bytes += j->regions[i]->size_bytes;
    c->remaining_bytes = c->memory_bytes;
    c->connections = j->npage_channels;
    for (size_t i = 0; i < j->set.ntrackers; i++)
        c->granularity_bytes = MAX(c->granularity_bytes, j->set.trackers[i]->granularity_bytes);
}

static void set_setup_time(struct migration_counters *c, void *userdata)
{
    c->setup_usec = now_usec() - *(const uint64_t *)userdata;
}

static int set_up(struct engine *e, struct mig_error *err)
{
    struct job *j = &e->job;
    uint64_t began = now_usec();
    migration_set_verdict(j->migration, "Setting up: connecting to %s", j->destination);
    migration_set_phase(j->migration, MIG_PHASE_SETUP);
    record_forget(j->runtime_dir, j->domain->name); /* that it once came here says nothing from now on */
    int r = prepare_job(e, err);
    if (r < 0)
        return r;
    r = job_handshake(j, err);
    if (r < 0)
        return r;
    r = job_write_record(j, RECORD_STARTED, err);
    if (r < 0)
        return r;
    j->tracking = true;
    r = harvest_start(&j->set, err);
    if (r < 0)
        return r;
    r = prepare_digests(j, err);
    if (r < 0)
        return r;
    r = start_devices(j, err);
    if (r < 0)
        return r;
    r = start_streams(e, err);
    if (r < 0)
        return r;
    migration_update(j->migration, set_totals, j);
    migration_update(j->migration, set_setup_time, &began);
    migration_set_verdict(j->migration, "Full send: every page once, while the workload runs");
    return 0;
}

void job_release_source(struct job *j)
{
    if (j->tracking)
        harvest_stop(&j->set);
    j->tracking = false;
}

void job_rollback(struct job *j, const struct mig_error *why, char *problem, size_t problem_size)
{
    bool blackout = j->paused;
    migration_set_phase(j->migration, MIG_PHASE_ROLLBACK);
    if (j->control) { /* the peer's memory is worthless from here on: tell it, but do not wait for it */
        j->control->cancel_fd = -1;
        dialogue_abort(&j->control_stream, why);
    }
    if (j->devices_touched)
        source_run_devices(j->domain, problem, problem_size);
    if (j->paused)
        source_resume_vmm(j->domain, problem, problem_size);
    job_release_source(j);
    migration_set_paused(j->migration, false);
    if (j->recorded) {
        if (blackout)
            job_write_record(j, RECORD_ABORTED, NULL);
        else
            record_remove(j->runtime_dir, migration_id(j->migration), false);
    }
    migration_set_verdict(j->migration, "%s: the workload runs on here",
                          why->code == MIG_ERR_CANCELLED ? "Cancelled" : "Failed");
}

/* Without a record a destination that may still ask would be told that it owns the workload. One that has given
 * it back does not ask any more, and its own record says so. */
static void given_back(struct engine *e, bool record_needed)
{
    struct job *j = &e->job;
    struct mig_error err;
    int r = job_write_record(j, RECORD_RETURNED, &err);
    if (r < 0 && record_needed) {
        snprintf(e->problem, sizeof e->problem,
                 "Not run here, since that cannot be recorded: %.250s. Make room, restart migd and resolve it "
                 "again",
                 err.message);
        return;
    }
    j->devices_touched = j->paused = true;
    migration_set_phase(j->migration, MIG_PHASE_ROLLBACK);
    source_run_devices(e->domain, e->problem, sizeof e->problem);
    source_resume_vmm(e->domain, e->problem, sizeof e->problem);
    source_stop_tracking(e->domain);
    migration_set_paused(j->migration, false);
    job_write_record(j, RECORD_ABORTED, NULL); /* resumed: a successor must not do it again */
    migration_set_verdict(j->migration, "The destination gave the workload back: it runs on here");
}

static void end_as(struct engine *e, enum mig_state state, enum domain_state domain_state,
                   const struct mig_error *err)
{
    e->result = state;
    e->end_state = domain_state;
    e->error = err ? *err : MIG_ERROR_INIT;
}

/* After the decision: the outcome, whatever it takes. */
static void settle(struct engine *e, int r, struct mig_error *err)
{
    struct job *j = &e->job;
    int word = e->resolution;
    if (r == -EINPROGRESS && word == RESOLUTION_RUN) {
        log_warning("migration %s: the operator decided that the source runs the workload",
                    migration_id(j->migration));
        given_back(e, true);
        end_as(e, MIG_STATE_FAILED, e->problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, err);
    } else if (r == -EINPROGRESS && word == RESOLUTION_DROP) {
        log_warning("migration %s: the operator decided that the source gives the workload up",
                    migration_id(j->migration));
        source_stop_tracking(e->domain);
        j->tracking = false;
        end_as(e, MIG_STATE_COMPLETED, DOMAIN_STATE_DEPARTED, NULL);
    } else if (r == -EINPROGRESS) { /* the daemon ends; its successor reads the record and asks on */
        end_as(e, MIG_STATE_IN_DOUBT, DOMAIN_STATE_DEPARTED, err);
    } else if (r == -EREMOTEIO) {
        given_back(e, false);
        end_as(e, MIG_STATE_FAILED, e->problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, err);
    } else {
        source_stop_tracking(e->domain);
        j->tracking = false;
        end_as(e, MIG_STATE_COMPLETED, DOMAIN_STATE_DEPARTED, NULL);
    }
}

static void say_done(struct job *j)
{
    const char *device;
    uint64_t pages = job_gate_late(j, &device);
    if (pages)
        migration_set_verdict(
            j->migration,
            "Done: the workload runs at %s. But device %s wrote %llu pages here after it had "
            "been stopped and everything was sent: those writes are lost",
            j->destination, device, (unsigned long long)pages);
    else
        migration_set_verdict(j->migration, "Done: the workload runs at %s", j->destination);
}

static int migrate(struct engine *e)
{
    struct job *j = &e->job;
    struct mig_error err = MIG_ERROR_INIT;
    int r = set_up(e, &err);
    if (r == 0)
        r = job_rounds(j, &err);
    if (r == 0)
        r = job_switch_over(j, &err);
    if (r < 0) {
        if (!mig_error_is_set(&err))
            mig_error_set(&err, MIG_ERR_FAILED, -r, "%s", strerror(-r));
        struct migration_status st;
        migration_get_status(j->migration, &st);
        if (r == -ECANCELED || st.cancel_requested)
            mig_error_set(&err, MIG_ERR_CANCELLED, 0, "The migration of %s was cancelled", j->domain->name);
        job_rollback(j, &err, e->problem, sizeof e->problem);
        end_as(e, err.code == MIG_ERR_CANCELLED ? MIG_STATE_CANCELLED : MIG_STATE_FAILED,
               e->problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, &err);
        return r;
    }
    r = job_handover(j, &err);
    if (r == 0)
        say_done(j);
    settle(e, r, &err);
    if (r == 0) {
        if (j->options.verify == VERIFY_POST && job_verify_post(j, &err) < 0)
            end_as(e, MIG_STATE_FAILED, DOMAIN_STATE_DEPARTED, &err);
    }
    return r;
}

/* A daemon before this one left a record. */
static int recover(struct engine *e)
{
    struct job *j = &e->job;
    struct mig_error err = MIG_ERROR_INIT;
    if (e->record.state == RECORD_COMMITTED || e->record.state == RECORD_ACTIVE) {
        migration_set_phase(j->migration, MIG_PHASE_COMMITTED);
        const struct outcome_question q = {.address = j->destination,
                                           .id = migration_id(j->migration),
                                           .token = j->token,
                                           .cancel_fd = j->cancel_fd};
        int r = e->record.state == RECORD_ACTIVE ? 0 : outcome_ask(&q, j->migration, &err);
        if (r == 0)
            migration_set_verdict(j->migration, "Done: the workload runs at %s", j->destination);
        settle(e, r, &err);
        return r;
    }
    bool was_paused = e->record.state == RECORD_INTENT || e->record.state == RECORD_RETURNED;
    mig_error_set(&err, MIG_ERR_FAILED, 0,
                  "migd ended while %s was being migrated; the workload was brought back", e->domain->name);
    migration_set_phase(j->migration, MIG_PHASE_ROLLBACK);
    source_run_devices(e->domain, e->problem, sizeof e->problem);
    if (was_paused)
        source_resume_vmm(e->domain, e->problem, sizeof e->problem);
    source_stop_tracking(e->domain);
    if (was_paused)
        job_write_record(j, RECORD_ABORTED, NULL);
    else
        record_remove(j->runtime_dir, migration_id(j->migration), false);
    migration_set_verdict(j->migration, "Recovered after a restart of migd: the workload runs on here");
    end_as(e, MIG_STATE_FAILED, e->problem[0] ? DOMAIN_STATE_BROKEN : DOMAIN_STATE_RUNNING, &err);
    return 0;
}

static void close_streams(struct engine *e)
{
    struct job *j = &e->job;
    pthread_mutex_lock(&e->pages_lock);
    e->pages = NULL;
    pthread_mutex_unlock(&e->pages_lock);
    j->pages = page_stream_free(j->pages);
    j->state = state_stream_free(j->state);
    for (size_t i = 0; i < j->npage_channels; i++)
        j->page_channels[i] = channel_free(j->page_channels[i]);
    j->npage_channels = 0;
    j->state_channel = channel_free(j->state_channel);
    j->control = channel_free(j->control);
    for (size_t i = 0; j->sent_digests && i < j->set.nregions; i++)
        free(j->sent_digests[i]);
    free(j->sent_digests);
    j->sent_digests = NULL;
    free(j->regions);
    j->regions = NULL;
}

static int run(struct worker *w, void *userdata)
{
    struct engine *e = userdata;
    e->job.cancel_fd = worker_cancel_fd(w);
    int r = e->recovering ? recover(e) : migrate(e);
    close_streams(e);
    return r;
}

static void ended(void *userdata, int result)
{
    struct engine *e = userdata;
    struct domain *d = e->domain;
    e->worker = worker_free(e->worker); /* the migration stays visible, its thread and descriptor need not */
    e->domain = NULL;
    domain_set_state(d, e->end_state, e->problem[0] ? e->problem : NULL);
    /* After the state: it looks whether the devices still live, and has the last word. */
    domain_give_back(d);
    /* Not before the domain was saved as departed: else a successor would find neither and take it for
     * running. */
    if (e->end_state == DOMAIN_STATE_DEPARTED && e->result != MIG_STATE_IN_DOUBT)
        record_remove(e->context.runtime_dir, migration_id(e->migration), false);
    domain_unref(d);
    record_trim(e->context.runtime_dir, 256);
    const struct log_fields fields = {.domain = migration_domain(e->migration),
                                      .migration = migration_id(e->migration)};
    if (mig_error_is_set(&e->error))
        log_mig_error(LOG_ERR, &fields, &e->error, "Migration ended");
    else
        log_write(LOG_NOTICE, &fields, "Migration of %s to %s completed", migration_domain(e->migration),
                  e->job.destination);
    migration_end(e->migration, e->result, mig_error_is_set(&e->error) ? &e->error : NULL);
    migration_unref(e->migration); /* the worker's */
}

static void op_cancel(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (e->worker)
        worker_cancel(e->worker);
}

static void op_shutdown(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (!e->worker)
        return;
    worker_cancel(e->worker);
    e->worker = worker_free(e->worker);
    e->domain = domain_unref(e->domain);
    migration_unref(m); /* the worker's: its ending is told to nobody any more */
}

static void op_options_changed(struct migration *m, void *engine)
{
    struct engine *e = engine;
    struct migration_options o;
    migration_get_options(m, &o);
    pthread_mutex_lock(&e->pages_lock);
    if (e->pages)
        page_stream_set_bandwidth(e->pages, o.bandwidth_bytes_per_sec);
    pthread_mutex_unlock(&e->pages_lock);
}

/* Below this a rate says more about the scheduler than about the link. */
#define RATE_MIN_USEC (200 * USEC_PER_MSEC)

static void op_progress(void *engine, struct migration_counters *c)
{
    struct engine *e = engine;
    struct page_round now = {0};
    pthread_mutex_lock(&e->pages_lock);
    if (e->pages)
        page_stream_progress(e->pages, &now);
    pthread_mutex_unlock(&e->pages_lock);
    uint64_t done_bytes = (now.normal_pages + now.zero_pages) * REGION_PAGE_SIZE;
    c->normal_pages += now.normal_pages;
    c->zero_pages += now.zero_pages;
    c->processed_bytes += now.payload_bytes;
    c->wire_bytes += now.wire_bytes;
    c->remaining_bytes -= MIN(c->remaining_bytes, done_bytes);
    if (done_bytes == 0 || now.usec < RATE_MIN_USEC)
        return;
    c->bandwidth = (uint64_t)((double)now.wire_bytes * USEC_PER_SEC / (double)now.usec);
    c->remaining_usec = (uint64_t)((double)c->remaining_bytes * (double)now.usec / (double)done_bytes);
}

static int op_resolve(struct migration *m, void *engine, bool run_here, struct mig_error *err)
{
    struct engine *e = engine;
    e->resolution = run_here ? RESOLUTION_RUN : RESOLUTION_DROP;
    if (e->worker)
        worker_cancel(e->worker);
    return 0;
}

static void op_destroy(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (e->worker)
        worker_free(e->worker);
    pthread_mutex_destroy(&e->pages_lock);
    free(e);
}

static void op_doubtful(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (e->domain)
        domain_set_state(e->domain, DOMAIN_STATE_IN_DOUBT,
                         "Given to a destination that was lost; it does not run here");
}

static const struct migration_ops ops = {
    .doubtful = op_doubtful,
    .cancel = op_cancel,
    .shutdown = op_shutdown,
    .options_changed = op_options_changed,
    .progress = op_progress,
    .resolve = op_resolve,
    .destroy = op_destroy,
};

/* Takes e over, also on failure. */
static int start_engine(struct migration **ret, struct engine *e, const char *id, const char *destination,
                        const struct migration_options *options, const struct migration_observer *observer,
                        struct mig_error *err)
{
    struct domain *d = e->domain;
    _cleanup_(migration_unrefp) struct migration *m = NULL;
    int r = migration_new(&m, e->context.loop, id, MIGRATION_OUTGOING, d->name, destination, options);
    if (r < 0)
        mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot make a migration: %s", strerror(-r));
    else
        r = domain_borrow(d, migration_id(m), err);
    if (r < 0) {
        free(e);
        return r;
    }
    struct job *j = &e->job;
    j->migration = e->migration = m;
    j->domain = d;
    j->runtime_dir = e->context.runtime_dir;
    j->decision_address = e->context.decision_address;
    j->options = *options;
    snprintf(j->destination, sizeof j->destination, "%s", destination);
    pthread_mutex_init(&e->pages_lock, NULL);
    migration_set_engine(m, &ops, e);
    if (observer)
        migration_set_observer(m, observer);
    if (e->recovering) /* what it does must be done, or asked, to the end */
        migration_forbid_cancel(m);
    migration_ref(m); /* the worker's, dropped in ended() */
    r = worker_start(&e->worker, e->context.loop, "migd-out", run, ended, e);
    if (r < 0) {
        /* The engine goes with the migration, which is dropped twice: the reference for the worker, and the
         * one of this scope. */
        migration_unref(m);
        domain_give_back(d);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot start a worker: %s", strerror(-r));
    }
    domain_ref(d);
    *ret = TAKE_PTR(m);
    return 0;
}

int outgoing_start(struct migration **ret, const struct outgoing_context *context, struct domain *domain,
                   const char *destination, const struct migration_options *options,
                   const struct migration_observer *observer, struct mig_error *err)
{
    if (domain->incoming || domain->state != DOMAIN_STATE_RUNNING) {
        if (domain->borrowed)
            mig_error_set(err, MIG_ERR_BUSY, 0, "Domain %s is being migrated already (migration %s)",
                          domain->name, domain->migration_id);
        else
            mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "Domain %s does not run here: it is %s%s",
                          domain->name, domain_state_to_string(domain->state),
                          domain->incoming ? " and incoming" : "");
        return -(err ? err->err : EBUSY);
    }
    if (strlen(destination) >= sizeof((struct job *)0)->destination || !*destination)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "The destination is empty or too long");
    struct mig_error own;
    int r = check_domain(domain, options, err ? err : &own);
    if (r < 0)
        return r;
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return mig_error_oom(err);
    e->context = *context;
    e->domain = domain;
    r = random_token(e->job.token);
    if (r < 0) {
        free(e);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "No random numbers: %s", strerror(-r));
    }
    r = start_engine(ret, e, NULL, destination, options, observer, err);
    if (r == 0)
        domain_set_state(domain, DOMAIN_STATE_MIGRATING, NULL);
    return r;
}

int outgoing_recover(struct migration **ret, const struct outgoing_context *context, struct domain *domain,
                     const struct record *record, const struct migration_observer *observer,
                     struct mig_error *err)
{
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return mig_error_oom(err);
    e->context = *context;
    e->domain = domain;
    e->recovering = true;
    if (domain->state == DOMAIN_STATE_BROKEN)
        snprintf(e->problem, sizeof e->problem, "%s", domain->problem);
    e->record = *record;
    snprintf(e->job.token, sizeof e->job.token, "%.32s", record->token);
    struct migration_options options;
    migration_options_init(&options);
    return start_engine(ret, e, record->id, record->peer, &options, observer, err);
}

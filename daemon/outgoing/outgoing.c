/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Outgoing migrations towards the bus: starts the worker, hands it the domain, and takes the end on the main
 * thread. The engine object lives as long as its migration; the domain is given back when the worker has
 * ended.
 */
#include "outgoing/outgoing.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/ratelimit.h"
#include "migration/journal.h"
#include "loop/worker.h"
#include "outgoing/job.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct engine {
    struct outgoing_context context;
    struct migration *migration; /* it owns us */
    struct domain *domain;       /* reference; NULL once given back */
    struct worker *worker;
    bool recovering; /* a daemon before us began this migration, and job.record is what it left */
    struct job job;
};

static int run(struct worker *w, void *userdata)
{
    struct engine *e = userdata;
    e->job.cancel_fd = worker_cancel_fd(w);
    int r = e->recovering ? job_recover(&e->job) : job_migrate(&e->job);
    job_close(&e->job);
    return r;
}

static void ended(void *userdata, int result)
{
    struct engine *e = userdata;
    struct domain *d = e->domain;
    const struct job_end *end = &e->job.end;
    e->worker = worker_free(e->worker); /* the migration stays visible, its thread and descriptor need not */
    e->domain = NULL;
    domain_set_state(d, end->domain_state, end->problem[0] ? end->problem : NULL);
    /* After the state: it looks whether the devices still live, and has the last word. */
    domain_give_back(d);
    /* Not before the domain was saved as departed: else a successor would find neither and take it for
     * running. */
    if (end->domain_state == DOMAIN_STATE_DEPARTED && end->state != MIG_STATE_IN_DOUBT)
        record_remove(e->context.runtime_dir, migration_id(e->migration), false);
    domain_unref(d);
    record_trim(e->context.runtime_dir, 256);
    const struct mig_error *error = mig_error_is_set(&end->error) ? &end->error : NULL;
    migration_log_ended(e->migration, end->state, error);
    migration_end(e->migration, end->state, error);
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
    pthread_mutex_lock(&e->job.pages_lock);
    if (e->job.live_pages)
        page_stream_set_bandwidth(e->job.live_pages, o.bandwidth_bytes_per_sec);
    pthread_mutex_unlock(&e->job.pages_lock);
}

/* Below this a rate says more about the scheduler than about the link. */
#define RATE_MIN_USEC (200 * USEC_PER_MSEC)

static void op_progress(void *engine, struct migration_counters *c)
{
    struct engine *e = engine;
    struct page_round now = {0};
    pthread_mutex_lock(&e->job.pages_lock);
    if (e->job.live_pages)
        page_stream_progress(e->job.live_pages, &now);
    pthread_mutex_unlock(&e->job.pages_lock);
    uint64_t done_bytes = (now.normal_pages + now.zero_pages) * REGION_PAGE_SIZE;
    c->normal_pages += now.normal_pages;
    c->zero_pages += now.zero_pages;
    c->processed_bytes += now.payload_bytes;
    c->wire_bytes += now.wire_bytes;
    c->packed_bytes += now.packed_bytes;
    c->packed_wire_bytes += now.packed_wire_bytes;
    c->remaining_bytes -= MIN(c->remaining_bytes, done_bytes);
    if (done_bytes == 0 || now.usec < RATE_MIN_USEC)
        return;
    c->bandwidth = (uint64_t)((double)now.wire_bytes * USEC_PER_SEC / (double)now.usec);
    c->remaining_usec = (uint64_t)((double)c->remaining_bytes * (double)now.usec / (double)done_bytes);
}

static int op_resolve(struct migration *m, void *engine, bool run_here, struct mig_error *err)
{
    struct engine *e = engine;
    e->job.resolution = run_here ? RESOLUTION_RUN : RESOLUTION_DROP;
    if (e->worker)
        worker_cancel(e->worker);
    return 0;
}

static void op_destroy(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (e->worker)
        worker_free(e->worker);
    pthread_mutex_destroy(&e->job.pages_lock);
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

/* ---- starting ---- */

void outgoing_make_request(struct check_request *ret, const struct outgoing_context *context,
                           const char *destination, const struct migration_options *options)
{
    *ret = (struct check_request){
        .options = options,
        .runtime_dir = context->runtime_dir,
        .listen_address = context->decision_address,
        .security = context->security,
        .destination = destination,
        .bandwidth_bytes_per_sec = context->known_bandwidth && *destination
                                       ? context->known_bandwidth(destination, context->userdata)
                                       : 0,
        .total_bytes_per_sec = context->total ? ratelimit_share(context->total) : 0,
    };
}

/* The half of the check that asks nobody; the other half is the first that the worker does. */
static int check_domain(struct domain *d, const struct check_request *q, struct mig_error *err)
{
    struct findings f = {0};
    check_waive(&f, q->options);
    int r = check_facts(d, q, &f);
    r = r < 0 ? mig_error_oom(err) : check_refusal(&f, err);
    findings_clear(&f);
    return r;
}

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
    j->security = e->context.security;
    j->total = e->context.total;
    j->options = *options;
    snprintf(j->destination, sizeof j->destination, "%s", destination);
    outgoing_make_request(&j->request, &e->context, j->destination, &j->options);
    pthread_mutex_init(&j->pages_lock, NULL);
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
    if (strlen(destination) >= sizeof((struct job *)0)->destination || !*destination)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "The destination is empty or too long");
    struct check_request request;
    outgoing_make_request(&request, context, destination, options);
    int r = check_domain(domain, &request, err);
    if (r < 0)
        return r;
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return mig_error_oom(err);
    e->context = *context;
    e->domain = domain;
    r = hex_random(e->job.token, sizeof e->job.token - 1);
    if (r < 0) {
        free(e);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "No random numbers: %s", strerror(-r));
    }
    r = start_engine(ret, e, NULL, destination, options, observer, err);
    if (r == 0) {
        migration_log_begun(*ret);
        domain_set_state(domain, DOMAIN_STATE_MIGRATING, NULL);
    }
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
        snprintf(e->job.end.problem, sizeof e->job.end.problem, "%s", domain->problem);
    e->job.record = *record;
    snprintf(e->job.token, sizeof e->job.token, "%.32s", record->token);
    struct migration_options options;
    migration_options_init(&options);
    return start_engine(ret, e, record->id, record->peer, &options, observer, err);
}

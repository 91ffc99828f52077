/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine object lives as long as its migration, its worker until the outcome is known. */
#include "libvirt/vm-engine.h"
#include "base/log.h"
#include "libvirt/vm-carry.h"
#include "libvirt/vm-job.h"
#include "libvirt/vm-record.h"
#include "loop/worker.h"
#include "migration/journal.h"
#include <stdio.h>
#include <string.h>

struct engine {
    const struct vm_context *context;
    struct migration *migration; /* it owns us */
    struct worker *worker;
    struct vm_job job;
};

static int run(struct worker *w, void *userdata)
{
    struct engine *e = userdata;
    e->job.cancel_fd = worker_cancel_fd(w);
    vm_job_run(&e->job);
    return 0;
}

static void ended(void *userdata, int result)
{
    struct engine *e = userdata;
    const struct mig_error *error = mig_error_is_set(&e->job.error) ? &e->job.error : NULL;
    e->worker = worker_free(e->worker);
    migration_log_ended(e->migration, e->job.state, error);
    migration_end(e->migration, e->job.state, error);
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
    __atomic_store_n(&e->job.leaves, true, __ATOMIC_RELAXED);
    worker_cancel(e->worker);
    e->worker = worker_free(e->worker);
    migration_unref(m); /* the worker's: its ending is told to nobody any more */
}

/* In doubt, and no worker any more: the operator has looked at both hosts. */
static int op_resolve(struct migration *m, void *engine, bool run_here, struct mig_error *err)
{
    struct engine *e = engine;
    vm_record_remove(e->context->runtime_dir, migration_id(m));
    migration_set_paused(m, false);
    migration_end(m, run_here ? MIG_STATE_FAILED : MIG_STATE_COMPLETED, run_here ? &e->job.error : NULL);
    return 0;
}

static void op_destroy(struct migration *m, void *engine)
{
    struct engine *e = engine;
    if (e->worker)
        worker_free(e->worker);
    free(e);
}

static const struct migration_ops ops = {
    .cancel = op_cancel, .shutdown = op_shutdown, .resolve = op_resolve, .destroy = op_destroy};

static int start(struct migration **ret, const struct vm_context *context, const struct vm_plan *plan,
                 const char *id, const struct migration_observer *observer, struct mig_error *err)
{
    _cleanup_(migration_unrefp) struct migration *m = NULL;
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return mig_error_oom(err);
    int r = migration_new(&m, context->loop, id, MIGRATION_OUTGOING, plan->name, plan->host, &plan->options);
    if (r < 0) {
        free(e);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot make a migration: %s", strerror(-r));
    }
    e->context = context;
    e->migration = m;
    e->job = (struct vm_job){.migration = m,
                             .plan = *plan,
                             .hook = context->hook,
                             .runtime_dir = context->runtime_dir,
                             .taken_up = id != NULL,
                             .process = VM_PROCESS_NONE,
                             .there = {.plan = &e->job.plan},
                             .call = {.end_fd = -1}};
    migration_set_engine(m, &ops, e);
    migration_set_engine_word(m, plan->engine);
    if (observer)
        migration_set_observer(m, observer);
    migration_ref(m); /* the worker's, dropped in ended() */
    r = worker_start(&e->worker, context->loop, "migd-vm", run, ended, e);
    if (r < 0) {
        migration_unref(m);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot start a worker: %s", strerror(-r));
    }
    *ret = TAKE_PTR(m);
    return 0;
}

int vm_engine_start(struct migration **ret, const struct vm_context *context, const struct vm_plan *plan,
                    const struct migration_observer *observer, struct mig_error *err)
{
    int r = start(ret, context, plan, NULL, observer, err);
    if (r == 0)
        migration_log_begun(*ret);
    return r;
}

void vm_engine_recover(const struct vm_context *context, const struct migration_observer *observer,
                       void (*started)(struct migration *m, void *userdata), void *userdata)
{
    struct vm_record *records;
    size_t n;
    vm_carry_recover(context->hook, context->runtime_dir);
    if (vm_record_list(context->runtime_dir, &records, &n) < 0)
        log_warning("The records of libvirt's migrations cannot be read");
    for (size_t i = 0; i < n; i++) {
        struct migration *m;
        struct mig_error err = MIG_ERROR_INIT;
        if (records[i].plan.native)
            continue;
        const struct log_fields fields = {.message = MESSAGE_MIGRATION_TAKEN_UP,
                                          .domain = records[i].plan.name,
                                          .migration = records[i].id};
        log_write(LOG_NOTICE, &fields, "Taking up migration %s of %s, which libvirt makes", records[i].id,
                  records[i].plan.name);
        if (start(&m, context, &records[i].plan, records[i].id, observer, &err) < 0) {
            log_mig_error(LOG_ERR, &fields, &err, "Cannot take the migration up");
            continue;
        }
        started(m, userdata);
        migration_unref(m);
    }
    free(records);
}

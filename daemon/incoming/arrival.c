/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/arrival.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "loop/loop.h"
#include "migration/journal.h"
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define RECORDS_KEPT 256

static void ended(void *userdata, int result)
{
    struct arrival *a = userdata;
    struct session *s = &a->session;
    /* The migration stays visible, its thread and descriptors need not. */
    a->looking = loop_timer_free(a->looking);
    a->worker = worker_free(a->worker);
    close_fd(&s->wake_fd);
    close_fd(&a->cancel_fd);
    a->setup.ended(a, a->setup.userdata);
    if (s->end.domain_state == DOMAIN_STATE_RUNNING ||
        (s->end.state == MIG_STATE_COMPLETED && s->end.domain_state == DOMAIN_STATE_BROKEN))
        s->domain->incoming = false;
    domain_set_state(s->domain, s->end.domain_state, s->end.problem[0] ? s->end.problem : NULL);
    /* After the state: it looks whether the devices still live, and has the last word. */
    domain_give_back(s->domain);
    record_trim(s->runtime_dir, RECORDS_KEPT);
    if (s->source_knows) /* not before the domain was saved as running */
        record_remove(s->runtime_dir, migration_id(s->migration), true);
    const struct mig_error *error = mig_error_is_set(&s->end.error) ? &s->end.error : NULL;
    s->domain = domain_unref(s->domain);
    migration_log_ended(s->migration, s->end.state, error);
    migration_end(s->migration, s->end.state, error);
    migration_unref(s->migration); /* the worker's */
}

static void op_cancel(struct migration *m, void *engine)
{
    struct arrival *a = engine;
    if (!a->worker) /* it has ended */
        return;
    eventfd_write(a->cancel_fd, 1);
    eventfd_write(a->session.wake_fd, 1);
}

static void op_shutdown(struct migration *m, void *engine)
{
    struct arrival *a = engine;
    op_cancel(m, a);
    if (!a->worker)
        return;
    a->looking = loop_timer_free(a->looking);
    a->worker = worker_free(a->worker);
    a->session.domain = domain_unref(a->session.domain);
    migration_unref(m); /* the worker's: its ending is told to nobody any more */
}

static int op_resolve(struct migration *m, void *engine, bool run_here, struct mig_error *err)
{
    struct arrival *a = engine;
    a->session.resolution = run_here ? 1 : 2;
    if (a->worker)
        eventfd_write(a->cancel_fd, 1);
    return 0;
}

static void op_destroy(struct migration *m, void *engine)
{
    struct arrival *a = engine;
    struct session *s = &a->session;
    loop_timer_free(a->looking);
    worker_free(a->worker);
    json_object_put(s->hello);
    space_ledger_unref(s->ledger);
    close_fd(&s->wake_fd);
    close_fd(&a->cancel_fd);
    pthread_cond_destroy(&s->attached_cond);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->send_lock);
    free(a);
}

static void op_doubtful(struct migration *m, void *engine)
{
    struct arrival *a = engine;
    if (a->session.domain)
        domain_set_state(a->session.domain, DOMAIN_STATE_IN_DOUBT,
                         "Prepared; the source's decision is not known, and nothing runs here");
}

static const struct migration_ops ops = {.doubtful = op_doubtful,
                                         .cancel = op_cancel,
                                         .shutdown = op_shutdown,
                                         .resolve = op_resolve,
                                         .destroy = op_destroy};

static void look(void *userdata)
{
    struct arrival *a = userdata;
    session_look_after(&a->session, &a->patience);
    loop_timer_arm(a->looking, patience_interval_usec(&a->patience));
}

/* One that a daemon before this one left has nothing to receive. */
static int start_looking(struct arrival *a)
{
    if (a->session.recovering || patience_interval_usec(&a->patience) == USEC_INFINITY)
        return 0;
    int r = loop_timer_new(&a->looking, a->setup.loop, look, a);
    if (r == 0)
        look(a);
    return r;
}

static int run(struct worker *w, void *userdata)
{
    struct arrival *a = userdata;
    a->session.cancel_fd = a->cancel_fd;
    return session_run(&a->session);
}

static void init_locks(struct session *s)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->send_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->attached_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int arrival_new(struct arrival **ret, const struct arrival_setup *setup, struct domain *d, const char *id,
                const char *peer, struct mig_error *err)
{
    struct arrival *a = calloc(1, sizeof *a);
    if (!a)
        return mig_error_oom(err);
    struct session *s = &a->session;
    a->setup = *setup;
    init_locks(s);
    s->runtime_dir = setup->runtime_dir;
    s->security = setup->security;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct migration_options options;
    migration_options_init(&options);
    struct migration *m;
    int r = s->wake_fd < 0 || a->cancel_fd < 0
                ? -errno
                : migration_new(&m, setup->loop, id, MIGRATION_INCOMING, d->name, peer, &options);
    if (r < 0) {
        close_fd(&s->wake_fd);
        close_fd(&a->cancel_fd);
        free(a);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot make a migration: %s", strerror(-r));
    }
    s->migration = m;
    migration_set_engine(m, &ops, a); /* from here on the arrival goes with its migration */
    r = domain_borrow(d, migration_id(m), err);
    if (r < 0) {
        migration_unref(m);
        return r;
    }
    s->domain = domain_ref(d);
    *ret = a;
    return 0;
}

int arrival_start(struct arrival *a, struct mig_error *err)
{
    struct session *s = &a->session;
    struct migration *m = s->migration;
    if (s->recovering)
        migration_forbid_cancel(m);
    migration_ref(m); /* the worker's */
    int r = start_looking(a);
    if (r == 0)
        r = worker_start(&a->worker, a->setup.loop, "migd-in", run, ended, a);
    if (r < 0) {
        domain_give_back(s->domain);
        s->domain = domain_unref(s->domain);
        s->hello = NULL; /* stays with the caller */
        migration_unref(m);
        migration_unref(m);
        return mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot start a worker or its timer: %s", strerror(-r));
    }
    if (!s->recovering)
        migration_log_begun(m);
    return 0;
}

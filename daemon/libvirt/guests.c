/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/guests.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "domain/qemu-guest.h"
#include "libvirt/announced.h"
#include "libvirt/arrival.h"
#include "libvirt/fetch.h"
#include "libvirt/native-peers.h"
#include "loop/worker.h"
#include <stdio.h>
#include <string.h>

#define MONITOR_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define LEAVE_INTERVAL_USEC  (200 * USEC_PER_MSEC)

/* A guest that is being registered, or released. */
struct guest {
    struct guests *all;
    struct guest *next;
    struct domain *domain;
    struct qemu_guest *qemu;
    struct worker *worker;
    struct mig_error err;
    bool leaves;
};

struct guests {
    struct loop *loop;
    struct registry *registry;
    struct hook *hook;
    struct guests_ops ops;
    struct arrivals *arrivals;
    uint64_t wait_usec; /* atomic */
    char peers[NATIVE_PEERS_MAX];
    struct guest *list;
    struct loop_timer *leave_timer;
};

static struct guest *guest_free(struct guest *t)
{
    if (!t)
        return NULL;
    for (struct guest **at = &t->all->list; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    worker_free(t->worker);
    qemu_guest_free(t->qemu);
    domain_unref(t->domain);
    free(t);
    return NULL;
}

static bool is_guest(const struct domain *d)
{
    return strcmp(d->controller->ops->kind, "libvirt") == 0;
}

/* ---- registering: begin and end on the main thread, between them something that blocks ---- */

static int begin(struct guests *g, const struct hook_event *event, struct guest **ret, struct mig_error *err)
{
    const struct qemu_guest_options o = {.path = event->monitor,
                                         .timeout_usec = MONITOR_TIMEOUT_USEC,
                                         .watch = "auto",
                                         .with_containers = true,
                                         .by_libvirt = true,
                                         .barrier = arrivals_let_go,
                                         .userdata = g->arrivals};
    struct guest *t = calloc(1, sizeof *t);
    if (!t)
        return mig_error_oom(err);
    t->all = g;
    t->next = g->list;
    g->list = t;
    struct domain *d = NULL;
    int r = g->ops.add(event->name, event->incoming, &d, g->ops.userdata, err);
    if (r == 0) {
        t->domain = domain_ref(d);
        r = domain_begin_job(d, "libvirt's hook", err);
        if (r == 0)
            r = qemu_guest_new(&t->qemu, d, &o, err);
        if (r < 0) {
            domain_end_job(d);
            g->ops.remove(d, g->ops.userdata);
        }
    }
    if (r < 0) {
        guest_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

/* taken: what qemu_guest_take said. */
static int end(struct guest *t, int taken, struct mig_error *err)
{
    struct guests *g = t->all;
    domain_end_job(t->domain);
    int r = taken < 0 ? taken : qemu_guest_insert(t->qemu, err);
    if (r < 0)
        g->ops.remove(t->domain, g->ops.userdata);
    return r;
}

static int take(struct worker *w, void *userdata)
{
    struct guest *t = userdata;
    return qemu_guest_take(t->qemu, &t->err);
}

static void tell_not_registered(const char *name, const struct mig_error *e)
{
    log_mig_error(LOG_NOTICE, &(struct log_fields){.domain = name}, e,
                  "libvirt's guest is not registered: migd cannot move its memory itself");
}

static void taken(void *userdata, int result)
{
    struct guest *t = userdata;
    if (end(t, result, &t->err) < 0)
        tell_not_registered(t->domain->name, &t->err);
    guest_free(t);
}

static void register_running(struct guests *g, const struct hook_event *event)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct hook_event here = *event;
    struct guest *t;
    here.incoming = false;
    if (!event->monitor[0] || registry_find(g->registry, event->name))
        return;
    if (begin(g, &here, &t, &e) < 0) {
        tell_not_registered(event->name, &e);
        return;
    }
    if (worker_start(&t->worker, g->loop, "guest", take, taken, t) < 0) {
        tell_not_registered(event->name, (mig_error_oom(&e), &e));
        (void)end(t, -ENOMEM, &e);
        guest_free(t);
    }
}

/* ---- releasing: a migration may not have ended yet ---- */

static void release_idle(void *userdata)
{
    struct guests *g = userdata;
    bool more = false;
    for (struct guest *t = g->list, *next; t; t = next) {
        next = t->next;
        if (!t->leaves)
            continue;
        if (domain_check_idle(t->domain, NULL) < 0) {
            more = true;
            continue;
        }
        if (registry_find(g->registry, t->domain->name) == t->domain)
            g->ops.remove(t->domain, g->ops.userdata);
        guest_free(t);
    }
    if (more)
        loop_timer_arm(g->leave_timer, LEAVE_INTERVAL_USEC);
}

static void release(struct guests *g, const char *name)
{
    struct domain *d = registry_find(g->registry, name);
    struct guest *t = d && is_guest(d) ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return;
    t->all = g;
    t->domain = domain_ref(d);
    t->leaves = true;
    t->next = g->list;
    g->list = t;
    if (domain_is_borrowed(d))
        g->ops.end_migration(d, g->ops.userdata);
    release_idle(g);
}

void guests_release_gone(struct guests *g)
{
    struct domain *d;
    for (size_t i = 0; (d = registry_nth(g->registry, i));) {
        bool gone = is_guest(d) && !hook_has_process(g->hook, d->name);
        if (gone)
            release(g, d->name);
        i += !gone ||
             registry_nth(g->registry, i) == d; /* it may have gone at once, or wait for a migration */
    }
}

static void told(const struct hook_event *event, void *userdata)
{
    struct guests *g = userdata;
    switch (event->operation) {
    case HOOK_STARTED:
    case HOOK_RECONNECT:
    case HOOK_ATTACH:
        register_running(g, event);
        break;
    case HOOK_RELEASE:
        release(g, event->name);
        break;
    default:
        break;
    }
}

/* ---- arriving, on the helper of a hook ---- */

struct errand {
    struct guests *g;
    const struct hook_event *event;
    struct guest *guest;
    char peers[NATIVE_PEERS_MAX]; /* as they are configured now */
    struct fetch *fetch;
    bool announced;
    int taken;
    struct mig_error *err;
};

static int begin_errand(void *userdata)
{
    struct errand *e = userdata;
    snprintf(e->peers, sizeof e->peers, "%s", e->g->peers);
    e->announced = announced_take(hook_announced(e->g->hook), e->event->uuid, now_usec());
    return begin(e->g, e->event, &e->guest, e->err);
}

static int end_errand(void *userdata)
{
    struct errand *e = userdata;
    return end(e->guest, e->taken, e->err);
}

static int free_errand(void *userdata)
{
    struct errand *e = userdata;
    guest_free(e->guest);
    return 0;
}

/* Nobody came. -EBUSY: somebody comes just now. */
static int settle_errand(void *userdata)
{
    struct errand *e = userdata;
    struct domain *d = e->guest->domain;
    if (domain_check_idle(d, NULL) < 0)
        return -EBUSY;
    d->incoming = false;
    domain_set_state(d, DOMAIN_STATE_RUNNING, "");
    return 0;
}

static int settle(void *userdata)
{
    struct errand *e = userdata;
    return loop_call(e->g->loop, settle_errand, e);
}

static enum arrival_word hear(void *userdata)
{
    struct errand *e = userdata;
    return fetch_hear(e->fetch);
}

/* For how long somebody is waited for. */
static uint64_t ask_peers(struct errand *e, uint64_t wait_usec, int cancel_fd)
{
    const struct fetch_request q = {.security = e->g->ops.security,
                                    .peers = e->peers,
                                    .uuid = e->event->uuid,
                                    .name = e->event->name,
                                    .timeout_usec = wait_usec,
                                    .cancel_fd = cancel_fd};
    struct mig_error why = MIG_ERROR_INIT;
    if (!e->peers[0] || fetch_ask(&e->fetch, &q, &why) != FETCH_NOBODY)
        return wait_usec;
    log_mig_error(LOG_NOTICE, &(struct log_fields){.domain = q.name}, &why,
                  "no host of NativePeers moves the memory of this guest");
    return e->announced ? wait_usec : 0;
}

static int wait_for_somebody(struct errand *e, uint64_t wait_usec, int cancel_fd, struct mig_error *err)
{
    struct arrival_wait w = {.domain = e->guest->domain,
                             .first_usec = ask_peers(e, wait_usec, cancel_fd),
                             .announced = e->announced,
                             .cancel_fd = cancel_fd,
                             .settle = settle,
                             .userdata = e};
    if (e->fetch)
        w.hear = hear;
    int r = arrivals_wait(e->g->arrivals, &w, err);
    fetch_free(e->fetch);
    return r;
}

static int arriving(const struct hook_event *event, int cancel_fd, void *userdata, struct mig_error *err)
{
    struct guests *g = userdata;
    uint64_t wait_usec = __atomic_load_n(&g->wait_usec, __ATOMIC_RELAXED);
    struct mig_error why = MIG_ERROR_INIT;
    struct errand e = {.g = g, .event = event, .err = &why};
    if (!event->monitor[0] || wait_usec == 0)
        return 0;
    int r = loop_call(g->loop, begin_errand, &e);
    if (r == 0) {
        e.taken = qemu_guest_take(e.guest->qemu, &why);
        r = loop_call(g->loop, end_errand, &e);
    }
    if (r < 0)
        tell_not_registered(event->name, &why);
    else
        r = wait_for_somebody(&e, wait_usec, cancel_fd, err);
    if (e.guest)
        loop_call(g->loop, free_errand, &e);
    if (!mig_error_is_set(&why))
        return r;
    if (!e.announced)
        return 0; /* what migd cannot move, QEMU moves */
    *err = why;
    return -why.err;
}

/* ---- all of them ---- */

int guests_new(struct guests **ret, struct loop *loop, struct registry *registry, struct hook *hook,
               const struct guests_ops *ops, struct mig_error *err)
{
    _cleanup_(guests_freep) struct guests *g = calloc(1, sizeof *g);
    if (!g)
        return mig_error_oom(err);
    g->loop = loop;
    g->registry = registry;
    g->hook = hook;
    g->ops = *ops;
    if (arrivals_new(&g->arrivals) < 0 || loop_timer_new(&g->leave_timer, loop, release_idle, g) < 0)
        return mig_error_oom(err);
    hook_set_ops(hook, &(struct hook_ops){.arriving = arriving, .told = told, .userdata = g});
    *ret = TAKE_PTR(g);
    return 0;
}

struct guests *guests_free(struct guests *g)
{
    if (!g)
        return NULL;
    hook_set_ops(g->hook, NULL);
    while (g->list)
        guest_free(g->list);
    loop_timer_free(g->leave_timer);
    arrivals_free(g->arrivals);
    free(g);
    return NULL;
}

void guests_configure(struct guests *g, const struct config *config)
{
    __atomic_store_n(&g->wait_usec, config->arrival_wait_usec, __ATOMIC_RELAXED);
    snprintf(g->peers, sizeof g->peers, "%s", config->native_peers);
}

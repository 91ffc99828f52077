/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Everything here but loop_post runs on the main thread. SIGTERM, SIGINT and SIGHUP are blocked (for this
 * thread and those that it starts) and read from a signalfd. Nothing ticks: with no timer armed the loop
 * sleeps until a descriptor wakes it.
 *
 * libevent runs one round at a time (EVLOOP_ONCE): between two rounds stands the prepare hook that libevent
 * lacks.
 */
#include "loop/loop.h"
#include "base/log.h"
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/time.h>

struct mail {
    struct mail *next;
    void (*fn)(void *userdata);
    void *userdata;
};

struct loop {
    struct event_base *base;
    bool exiting;
    int code;
    void (*prepare)(void *userdata);
    void *prepare_userdata;
    void (*terminate)(void *userdata);
    void *terminate_userdata;
    void (*reload)(void *userdata);
    void *reload_userdata;

    int signal_fd;
    struct event *signal_event;
    sigset_t old_mask;
    bool masked;

    int mail_fd;
    struct event *mail_event;
    pthread_mutex_t lock; /* mails, calls */
    pthread_cond_t called;
    bool ended; /* nobody runs it any more */
    struct mail *first, **last;
    size_t nmails;
};

static void take_signal(evutil_socket_t fd, short what, void *userdata)
{
    struct loop *l = userdata;
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGHUP) {
        if (l->reload)
            l->reload(l->reload_userdata);
        return;
    }
    log_notice("Ending on signal %s", sigabbrev_np((int)info.ssi_signo));
    loop_terminate(l, 0);
}

void loop_terminate(struct loop *l, int code)
{
    void (*terminate)(void *) = l->terminate;
    l->terminate = NULL;
    if (code)
        l->code = code;
    if (terminate)
        terminate(l->terminate_userdata);
    else
        loop_exit(l, code);
}

static void ring(struct loop *l)
{
    /* Fails only when the counter is full, and then the loop is awake. */
    (void)!write(l->mail_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static void unlink_mail(struct loop *l, struct mail **at)
{
    struct mail *m = *at;
    *at = m->next;
    if (l->last == &m->next)
        l->last = at;
    l->nmails--;
}

static void take_mails(evutil_socket_t fd, short what, void *userdata)
{
    struct loop *l = userdata;
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
    pthread_mutex_lock(&l->lock);
    /* No more than there are now: a function that posts again waits for the next round, so that descriptors
     * get their turn. */
    for (size_t n = l->nmails; n > 0 && l->first; n--) {
        struct mail *m = l->first;
        unlink_mail(l, &l->first);
        pthread_mutex_unlock(&l->lock);
        m->fn(m->userdata);
        free(m);
        pthread_mutex_lock(&l->lock);
    }
    bool more = l->first;
    pthread_mutex_unlock(&l->lock);
    if (more)
        ring(l);
}

/* Under the lock. */
static void drop_mails(struct loop *l, void (*fn)(void *userdata), void *userdata)
{
    for (struct mail **at = &l->first; *at;) {
        struct mail *m = *at;
        if (m->fn != fn || m->userdata != userdata) {
            at = &m->next;
            continue;
        }
        unlink_mail(l, at);
        free(m);
    }
}

void loop_retract(struct loop *l, void (*fn)(void *userdata), void *userdata)
{
    pthread_mutex_lock(&l->lock);
    drop_mails(l, fn, userdata);
    pthread_mutex_unlock(&l->lock);
}

static int watch(struct loop *l, struct event **ret, int fd, event_callback_fn fn)
{
    *ret = event_new(l->base, fd, EV_READ | EV_PERSIST, fn, l);
    return *ret && event_add(*ret, NULL) == 0 ? 0 : -ENOMEM;
}

static int block_signals(struct loop *l)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    int r = pthread_sigmask(SIG_BLOCK, &set, &l->old_mask);
    if (r)
        return -r;
    l->masked = true;
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return l->signal_fd < 0 ? -errno : 0;
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    /* One thread touches it; the coarse clock would make timers late by up to 4 ms. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

int loop_new(struct loop **ret)
{
    _cleanup_(loop_freep) struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->signal_fd = l->mail_fd = -1;
    l->last = &l->first;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->called, NULL);
    l->base = new_base();
    if (!l->base)
        return -ENOMEM;
    int r = block_signals(l);
    if (r < 0)
        return r;
    l->mail_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->mail_fd < 0)
        return -errno;
    r = watch(l, &l->signal_event, l->signal_fd, take_signal);
    if (r == 0)
        r = watch(l, &l->mail_event, l->mail_fd, take_mails);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(l);
    return 0;
}

struct loop *loop_free(struct loop *l)
{
    if (!l)
        return NULL;
    if (l->signal_event)
        event_free(l->signal_event);
    if (l->mail_event)
        event_free(l->mail_event);
    for (struct mail *m = l->first, *next; m; m = next) {
        next = m->next;
        free(m);
    }
    if (l->base)
        event_base_free(l->base);
    close_fd(&l->signal_fd);
    close_fd(&l->mail_fd);
    if (l->masked)
        pthread_sigmask(SIG_SETMASK, &l->old_mask, NULL);
    pthread_cond_destroy(&l->called);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

static void set_ended(struct loop *l, bool ended)
{
    pthread_mutex_lock(&l->lock);
    l->ended = ended;
    pthread_cond_broadcast(&l->called);
    pthread_mutex_unlock(&l->lock);
}

static int run(struct loop *l)
{
    while (!l->exiting) {
        if (l->prepare)
            l->prepare(l->prepare_userdata);
        if (!l->exiting && event_base_loop(l->base, EVLOOP_ONCE) < 0) {
            log_error("The event loop failed; ending");
            return EXIT_FAILURE;
        }
    }
    int code = l->code;
    l->exiting = false;
    l->code = 0;
    return code;
}

int loop_run(struct loop *l)
{
    set_ended(l, false);
    int code = run(l);
    set_ended(l, true);
    return code;
}

void loop_exit(struct loop *l, int code)
{
    if (l->exiting)
        return;
    l->exiting = true;
    if (code)
        l->code = code;
    event_base_loopbreak(l->base);
}

void loop_set_prepare(struct loop *l, void (*prepare)(void *userdata), void *userdata)
{
    l->prepare = prepare;
    l->prepare_userdata = userdata;
}

void loop_set_terminate(struct loop *l, void (*terminate)(void *userdata), void *userdata)
{
    l->terminate = terminate;
    l->terminate_userdata = userdata;
}

void loop_set_reload(struct loop *l, void (*reload)(void *userdata), void *userdata)
{
    l->reload = reload;
    l->reload_userdata = userdata;
}

int loop_post(struct loop *l, void (*fn)(void *userdata), void *userdata)
{
    struct mail *m = malloc(sizeof *m);
    if (!m)
        return -ENOMEM;
    *m = (struct mail){.fn = fn, .userdata = userdata};
    pthread_mutex_lock(&l->lock);
    *l->last = m;
    l->last = &m->next;
    l->nmails++;
    pthread_mutex_unlock(&l->lock);
    ring(l);
    return 0;
}

/* ---- calls from other threads ---- */

struct call {
    struct loop *loop;
    int (*fn)(void *userdata);
    void *userdata;
    int result;
    bool done;
};

static void answer_call(void *userdata)
{
    struct call *c = userdata;
    int result = c->fn(c->userdata);
    pthread_mutex_lock(&c->loop->lock);
    c->result = result;
    c->done = true;
    pthread_cond_broadcast(&c->loop->called);
    pthread_mutex_unlock(&c->loop->lock);
}

int loop_call(struct loop *l, int (*fn)(void *userdata), void *userdata)
{
    struct call c = {.loop = l, .fn = fn, .userdata = userdata, .result = -ECANCELED};
    int r = loop_post(l, answer_call, &c);
    if (r < 0)
        return r;
    pthread_mutex_lock(&l->lock);
    while (!c.done && !l->ended)
        pthread_cond_wait(&l->called, &l->lock);
    if (!c.done)
        drop_mails(l, answer_call, &c);
    pthread_mutex_unlock(&l->lock);
    return c.result;
}

/* ---- timers ---- */

struct loop_timer {
    struct event *event;
    void (*fn)(void *userdata);
    void *userdata;
};

static void fire_timer(evutil_socket_t fd, short what, void *userdata)
{
    struct loop_timer *t = userdata;
    t->fn(t->userdata);
}

int loop_timer_new(struct loop_timer **ret, struct loop *l, void (*fn)(void *userdata), void *userdata)
{
    struct loop_timer *t = malloc(sizeof *t);
    if (!t)
        return -ENOMEM;
    *t = (struct loop_timer){.fn = fn, .userdata = userdata};
    t->event = event_new(l->base, -1, 0, fire_timer, t);
    if (!t->event) {
        free(t);
        return -ENOMEM;
    }
    *ret = t;
    return 0;
}

void loop_timer_arm(struct loop_timer *t, uint64_t usec)
{
    if (usec == UINT64_MAX) {
        event_del(t->event);
        return;
    }
    struct timeval tv = {.tv_sec = (time_t)MIN(usec / 1000000, (uint64_t)INT32_MAX),
                         .tv_usec = (suseconds_t)(usec % 1000000)};
    event_add(t->event, &tv);
}

struct loop_timer *loop_timer_free(struct loop_timer *t)
{
    if (t) {
        event_free(t->event);
        free(t);
    }
    return NULL;
}

struct loop_io {
    struct event_base *base;
    struct event *event;
    bool writing;
    int fd;
    void (*fn)(int fd, void *userdata);
    void *userdata;
};

static void fire_io(evutil_socket_t fd, short what, void *userdata)
{
    struct loop_io *io = userdata;
    io->fn(fd, io->userdata);
}

int loop_io_new(struct loop_io **ret, struct loop *l, int fd, void (*fn)(int fd, void *userdata),
                void *userdata)
{
    struct loop_io *io = malloc(sizeof *io);
    if (!io)
        return -ENOMEM;
    *io = (struct loop_io){.base = l->base, .fd = fd, .fn = fn, .userdata = userdata};
    io->event = event_new(l->base, fd, EV_READ | EV_PERSIST, fire_io, io);
    /* libevent refuses what epoll refuses: a regular file, for one */
    if (!io->event || event_add(io->event, NULL) < 0) {
        int r = io->event ? -EPERM : -ENOMEM;
        loop_io_free(io);
        return r;
    }
    *ret = io;
    return 0;
}

void loop_io_want_write(struct loop_io *io, bool want)
{
    if (io->writing == want)
        return;
    io->writing = want;
    event_del(io->event);
    event_assign(io->event, io->base, io->fd, (short)(EV_READ | EV_PERSIST | (want ? EV_WRITE : 0)), fire_io,
                 io);
    event_add(io->event, NULL);
}

struct loop_io *loop_io_free(struct loop_io *io)
{
    if (io) {
        if (io->event)
            event_free(io->event);
        free(io);
    }
    return NULL;
}

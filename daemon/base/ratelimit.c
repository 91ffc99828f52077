/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/ratelimit.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define BURST_USEC       (20 * USEC_PER_MSEC) /* what may be saved up while nobody sends */
#define CHARGE_DEBT_USEC USEC_PER_SEC         /* what charges may leave behind */
#define BUSY_USEC        USEC_PER_SEC /* a child that took something so long ago still wants its share */

/* What somebody has got from a cap. */
struct account {
    uint64_t vtime, used_usec;
    unsigned waiting; /* threads */
};

/* A thread that waits, on its stack. Each has its own condition: at most one is woken for a turn. */
struct waiter {
    struct waiter *next; /* in the order in which they came */
    struct ratelimit *of;
    struct account *account;
    pthread_cond_t turn;
};

struct ratelimit {
    struct ratelimit *parent;
    pthread_mutex_t lock;  /* never held together with a parent's or child's */
    _Atomic uint64_t rate; /* written under the lock; read without it, so that no cap costs no lock */
    _Atomic bool cancelled;
    double tokens; /* bytes; below 0 is debt */
    uint64_t counted_usec;
    struct waiter *waiters;
    uint64_t served_vtime; /* of the child that was served last, when its turn came */

    struct ratelimit *children;

    struct account own; /* of those who take from this one itself */

    struct account
        shared; /* of all that this one took from its parent; like next_child under the parent's lock */
    struct ratelimit *next_child;
};

int ratelimit_new_child(struct ratelimit **ret, struct ratelimit *parent, uint64_t bytes_per_sec)
{
    struct ratelimit *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    pthread_mutex_init(&r->lock, NULL);
    r->rate = bytes_per_sec;
    r->counted_usec = now_usec();
    if (parent) {
        pthread_mutex_lock(&parent->lock);
        r->parent = parent;
        r->next_child = parent->children;
        parent->children = r;
        pthread_mutex_unlock(&parent->lock);
    }
    *ret = r;
    return 0;
}

int ratelimit_new(struct ratelimit **ret, uint64_t bytes_per_sec)
{
    return ratelimit_new_child(ret, NULL, bytes_per_sec);
}

struct ratelimit *ratelimit_free(struct ratelimit *r)
{
    if (!r)
        return NULL;
    if (r->parent) {
        pthread_mutex_lock(&r->parent->lock);
        struct ratelimit **at = &r->parent->children;
        while (*at != r)
            at = &(*at)->next_child;
        *at = r->next_child;
        pthread_mutex_unlock(&r->parent->lock);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

/* Tokens for the time since the last count, at the rate that held until now. */
static void count(struct ratelimit *r)
{
    uint64_t now = now_usec();
    double rate = (double)r->rate;
    r->tokens += rate * (double)(now - r->counted_usec) / USEC_PER_SEC;
    r->tokens = MIN(r->tokens, rate * BURST_USEC / USEC_PER_SEC);
    r->counted_usec = now;
}

/* ---- those who wait ---- */

/* Those of `of`; NULL: all. */
static void wake(struct ratelimit *r, const struct ratelimit *of)
{
    for (struct waiter *w = r->waiters; w; w = w->next)
        if (!of || w->of == of)
            pthread_cond_signal(&w->turn);
}

static struct waiter *first_of(const struct ratelimit *r)
{
    struct waiter *first = r->waiters;
    for (struct waiter *w = r->waiters; w; w = w->next)
        if (w->account->vtime < first->account->vtime)
            first = w;
    return first;
}

static void queue(struct ratelimit *r, struct waiter *w)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->turn, &attr);
    pthread_condattr_destroy(&attr);
    struct waiter **at = &r->waiters;
    while (*at)
        at = &(*at)->next;
    *at = w;
    w->account->waiting++;
}

static void leave(struct ratelimit *r, struct waiter *w)
{
    struct waiter **at = &r->waiters;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->account->waiting--;
    pthread_cond_destroy(&w->turn);
}

static void wait_for_turn(struct ratelimit *r, struct waiter *w)
{
    if (first_of(r) != w) {
        pthread_cond_wait(&w->turn, &r->lock);
        return;
    }
    double wait_usec = -r->tokens * USEC_PER_SEC / (double)r->rate;
    uint64_t until =
        r->counted_usec + (wait_usec < 1e15 ? (uint64_t)wait_usec + 1 : UINT64_C(1000000000000000));
    struct timespec ts = {.tv_sec = (time_t)(until / USEC_PER_SEC),
                          .tv_nsec = (long)(until % USEC_PER_SEC) * 1000};
    pthread_cond_timedwait(&w->turn, &r->lock, &ts);
}

/* ---- taking ---- */

/* Of `of`, which is r itself or a child of it. */
static struct account *account_at(const struct ratelimit *r, struct ratelimit *of)
{
    return of == r ? &of->own : &of->shared;
}

static int take(struct ratelimit *r, struct ratelimit *of, uint64_t bytes)
{
    if (of->cancelled)
        return -ECANCELED;
    if (r->rate == 0)
        return 0;
    struct account *a = account_at(r, of);
    struct waiter w = {.of = of, .account = a};
    pthread_mutex_lock(&r->lock);
    a->vtime = MAX(a->vtime, r->served_vtime);
    queue(r, &w);
    for (;;) {
        count(r);
        if (of->cancelled || r->rate == 0 || (r->tokens >= 0 && first_of(r) == &w))
            break;
        wait_for_turn(r, &w);
    }
    leave(r, &w);
    bool cancelled = of->cancelled;
    if (r->rate && !cancelled) {
        r->tokens -= (double)bytes;
        r->served_vtime = a->vtime;
        a->vtime += bytes;
        a->used_usec = r->counted_usec;
    }
    struct waiter *next = first_of(r);
    if (next)
        pthread_cond_signal(&next->turn);
    pthread_mutex_unlock(&r->lock);
    return cancelled ? -ECANCELED : 0;
}

int ratelimit_take(struct ratelimit *r, uint64_t bytes)
{
    int rc = take(r, r, bytes);
    return rc == 0 && r->parent ? take(r->parent, r, bytes) : rc;
}

static void charge(struct ratelimit *r, struct ratelimit *of, uint64_t bytes)
{
    if (r->rate == 0)
        return;
    pthread_mutex_lock(&r->lock);
    count(r);
    double lowest = -(double)r->rate * CHARGE_DEBT_USEC / USEC_PER_SEC;
    if (r->tokens > lowest)
        r->tokens = MAX(r->tokens - (double)bytes, lowest);
    account_at(r, of)->used_usec = r->counted_usec;
    pthread_mutex_unlock(&r->lock);
}

void ratelimit_charge(struct ratelimit *r, uint64_t bytes)
{
    charge(r, r, bytes);
    if (r->parent)
        charge(r->parent, r, bytes);
}

void ratelimit_set(struct ratelimit *r, uint64_t bytes_per_sec)
{
    pthread_mutex_lock(&r->lock);
    count(r);
    if (r->rate == 0) /* nothing was counted while there was no cap */
        r->tokens = 0;
    r->rate = bytes_per_sec;
    wake(r, NULL);
    pthread_mutex_unlock(&r->lock);
}

void ratelimit_cancel(struct ratelimit *r)
{
    pthread_mutex_lock(&r->lock);
    r->cancelled = true;
    wake(r, NULL);
    pthread_mutex_unlock(&r->lock);
    if (!r->parent)
        return;
    pthread_mutex_lock(&r->parent->lock);
    wake(r->parent, r);
    pthread_mutex_unlock(&r->parent->lock);
}

uint64_t ratelimit_share(struct ratelimit *r)
{
    uint64_t own = r->rate, others = 0;
    if (!r->parent || r->parent->rate == 0)
        return own;
    pthread_mutex_lock(&r->parent->lock);
    uint64_t rate = r->parent->rate, now = now_usec();
    for (const struct ratelimit *c = r->parent->children; c; c = c->next_child)
        others += c != r && (c->shared.waiting || now - c->shared.used_usec < BUSY_USEC);
    pthread_mutex_unlock(&r->parent->lock);
    rate = MAX(rate / (others + 1), UINT64_C(1));
    return own ? MIN(own, rate) : rate;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/ratelimit.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define BURST_USEC (20 * USEC_PER_MSEC) /* what may be saved up while nobody sends */

struct ratelimit {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic uint64_t rate; /* written under the lock; read without it, so that no cap costs no lock */
    _Atomic bool cancelled;
    double tokens; /* bytes; below 0 is debt */
    uint64_t counted_usec;
};

int ratelimit_new(struct ratelimit **ret, uint64_t bytes_per_sec)
{
    struct ratelimit *r = calloc(1, sizeof *r);
    pthread_condattr_t attr;
    if (!r)
        return -ENOMEM;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    r->rate = bytes_per_sec;
    r->counted_usec = now_usec();
    *ret = r;
    return 0;
}

struct ratelimit *ratelimit_free(struct ratelimit *r)
{
    if (!r)
        return NULL;
    pthread_cond_destroy(&r->changed);
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

void ratelimit_set(struct ratelimit *r, uint64_t bytes_per_sec)
{
    pthread_mutex_lock(&r->lock);
    count(r);
    if (r->rate == 0) /* nothing was counted while there was no cap */
        r->tokens = 0;
    r->rate = bytes_per_sec;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

int ratelimit_take(struct ratelimit *r, uint64_t bytes)
{
    if (r->cancelled)
        return -ECANCELED;
    if (r->rate == 0)
        return 0;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        count(r);
        if (r->cancelled || r->rate == 0 || r->tokens >= 0)
            break;
        double wait_usec = -r->tokens * USEC_PER_SEC / (double)r->rate;
        uint64_t until =
            r->counted_usec + (wait_usec < 1e15 ? (uint64_t)wait_usec + 1 : UINT64_C(1000000000000000));
        struct timespec ts = {.tv_sec = (time_t)(until / USEC_PER_SEC),
                              .tv_nsec = (long)(until % USEC_PER_SEC) * 1000};
        pthread_cond_timedwait(&r->changed, &r->lock, &ts);
    }
    if (r->rate)
        r->tokens -= (double)bytes;
    bool cancelled = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return cancelled ? -ECANCELED : 0;
}

void ratelimit_cancel(struct ratelimit *r)
{
    pthread_mutex_lock(&r->lock);
    r->cancelled = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

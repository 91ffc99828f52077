/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/progress.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define WAITS UINT64_MAX

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct progress *first;
static _Thread_local struct progress *own;

void progress_enter(struct progress *p, const char *name)
{
    snprintf(p->name, sizeof p->name, "%s", name);
    atomic_store(&p->beat_usec, now_usec());
    pthread_mutex_lock(&lock);
    p->next = first;
    first = p;
    pthread_mutex_unlock(&lock);
    own = p;
}

void progress_leave(struct progress *p)
{
    pthread_mutex_lock(&lock);
    for (struct progress **at = &first; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    own = NULL;
}

void progress_beat(void)
{
    if (own)
        atomic_store_explicit(&own->beat_usec, now_usec(), memory_order_relaxed);
}

void progress_wait(bool waiting)
{
    if (own)
        atomic_store_explicit(&own->beat_usec, waiting ? WAITS : now_usec(), memory_order_relaxed);
}

uint64_t progress_silence_usec(char ret_name[static 16])
{
    uint64_t longest = 0, now = now_usec();
    ret_name[0] = '\0';
    pthread_mutex_lock(&lock);
    for (const struct progress *p = first; p; p = p->next) {
        uint64_t beat = atomic_load(&p->beat_usec);
        if (beat == WAITS || now <= beat || now - beat <= longest)
            continue;
        longest = now - beat;
        memcpy(ret_name, p->name, sizeof p->name);
    }
    pthread_mutex_unlock(&lock);
    return longest;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker is shared by its owner and its own ending: the thread holds one reference, which goes with the
 * posted ending to the main thread, and worker_free drops the owner's. So an owner that frees early (at
 * shutdown) is never told of an ending that comes late.
 */
#include "loop/worker.h"
#include "base/progress.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

/* Untouched stack costs nothing but address space; sanitizers need a multiple of what we use. */
#define WORKER_STACK_BYTES (2u << 20)

struct worker {
    struct loop *loop;
    pthread_t thread;
    int cancel_fd;
    atomic_bool cancelled;
    char name[16];
    struct progress progress;
    int (*run)(struct worker *w, void *userdata);
    void (*done)(void *userdata, int result);
    void *userdata;
    int result;
};

static void tell_done(void *userdata)
{
    struct worker *w = userdata;
    if (w->done)
        w->done(w->userdata, w->result);
}

static void *worker_main(void *userdata)
{
    struct worker *w = userdata;
    prctl(PR_SET_NAME, w->name);
    progress_enter(&w->progress, w->name);
    w->result = w->run(w, w->userdata);
    progress_leave(&w->progress);
    /* The ending must not get lost for want of 24 bytes. */
    while (loop_post(w->loop, tell_done, w) < 0)
        usleep(10000);
    return NULL;
}

int worker_start(struct worker **ret, struct loop *l, const char *name,
                 int (*run)(struct worker *w, void *userdata), void (*done)(void *userdata, int result),
                 void *userdata)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->loop = l;
    w->run = run;
    w->done = done;
    w->userdata = userdata;
    snprintf(w->name, sizeof w->name, "%s", name);
    w->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->cancel_fd < 0) {
        int r = -errno;
        free(w);
        return r;
    }
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
    /* The thread may run before *ret is set: whatever it posts runs on the caller's thread, so after this. */
    int r = pthread_create(&w->thread, &attr, worker_main, w);
    pthread_attr_destroy(&attr);
    if (r) {
        close_fd(&w->cancel_fd);
        free(w);
        return -r;
    }
    *ret = w;
    return 0;
}

void worker_cancel(struct worker *w)
{
    if (!atomic_exchange(&w->cancelled, true))
        (void)!write(w->cancel_fd, &(uint64_t){1}, sizeof(uint64_t));
}

int worker_cancel_fd(const struct worker *w)
{
    return w->cancel_fd;
}

bool worker_cancelled(const struct worker *w)
{
    return atomic_load(&w->cancelled);
}

struct worker *worker_free(struct worker *w)
{
    if (w) {
        pthread_join(w->thread, NULL);
        loop_retract(w->loop, tell_done, w);
        close_fd(&w->cancel_fd);
        free(w);
    }
    return NULL;
}

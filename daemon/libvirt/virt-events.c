/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/virt-events.h"
#include "base/clock.h"
#include "libvirt/virt-library.h"
#include "loop/loop.h"
#include <event2/event.h>
#include <pthread.h>

/* A descriptor or a timer of libvirt's. */
struct watch {
    struct watch *next;
    int id;
    bool timer, removed, changed;
    int fd, events;  /* of a descriptor: VIR_EVENT_HANDLE_* */
    int period_msec; /* of a timer; negative: rests */
    virEventHandleCallback on_handle;
    virEventTimeoutCallback on_timer;
    void *opaque;
    virFreeCallback free_opaque;
    struct event *event; /* main thread; NULL: not watched */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static struct watch *watches;
static int next_id = 1;
static struct loop *carrier;
static bool posted;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void carry_over(void *userdata);

/* Lock held. */
static void post(void)
{
    if (!posted && carrier)
        posted = loop_post(carrier, carry_over, NULL) == 0;
}

/* ---- on the main thread ---- */

/* A wish may have been withdrawn after the event came: what holds now is looked up. */
static bool still_wanted(const struct watch *w)
{
    pthread_mutex_lock(&lock);
    bool wanted = !w->removed && (w->timer ? w->period_msec >= 0 : w->events != 0);
    pthread_mutex_unlock(&lock);
    return wanted;
}

static void on_event(evutil_socket_t fd, short what, void *userdata)
{
    struct watch *w = userdata; /* freed by carry_over alone, which runs on this thread */
    if (!still_wanted(w))
        return;
    if (w->timer) {
        w->on_timer(w->id, w->opaque);
        return;
    }
    int events =
        (what & EV_READ ? VIR_EVENT_HANDLE_READABLE : 0) | (what & EV_WRITE ? VIR_EVENT_HANDLE_WRITABLE : 0);
    w->on_handle(w->id, fd, events, w->opaque);
}

static void stop(struct watch *w)
{
    if (w->event)
        event_free(w->event);
    w->event = NULL;
}

static void watch_descriptor(struct watch *w, struct event_base *base, int events)
{
    short what = EV_PERSIST;
    if (events & (VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP))
        what |= EV_READ;
    if (events & VIR_EVENT_HANDLE_WRITABLE)
        what |= EV_WRITE;
    w->event = events ? event_new(base, w->fd, what, on_event, w) : NULL;
    if (w->event)
        event_add(w->event, NULL);
}

static void arm_timer(struct watch *w, struct event_base *base, int msec)
{
    const struct timeval period = {.tv_sec = msec / 1000, .tv_usec = msec % 1000 * 1000};
    w->event = msec >= 0 ? event_new(base, -1, EV_PERSIST, on_event, w) : NULL;
    if (w->event)
        event_add(w->event, &period);
}

/* Takes removed ones out of the list. */
static struct watch *take_removed(void)
{
    struct watch *removed = NULL;
    for (struct watch **at = &watches; *at;) {
        struct watch *w = *at;
        if (!w->removed) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = removed;
        removed = w;
    }
    return removed;
}

static void free_removed(struct watch *w)
{
    while (w) {
        struct watch *next = w->next;
        stop(w);
        if (w->free_opaque)
            w->free_opaque(w->opaque);
        free(w);
        w = next;
    }
}

static void carry_over(void *userdata)
{
    pthread_mutex_lock(&lock);
    posted = false;
    struct event_base *base = carrier ? loop_base(carrier) : NULL;
    struct watch *removed = take_removed();
    for (struct watch *w = watches; base && w; w = w->next) {
        if (!w->changed)
            continue;
        w->changed = false;
        stop(w);
        if (w->timer)
            arm_timer(w, base, w->period_msec);
        else
            watch_descriptor(w, base, w->events);
    }
    pthread_mutex_unlock(&lock);
    free_removed(removed);
}

void virt_events_use(struct loop *l)
{
    pthread_mutex_lock(&lock);
    if (carrier && carrier != l) {
        loop_retract(carrier, carry_over, NULL);
        posted = false;
        for (struct watch *w = watches; w; w = w->next) {
            stop(w);
            w->changed = true;
        }
    }
    carrier = l;
    post();
    pthread_mutex_unlock(&lock);
}

/* ---- what libvirt calls, on any thread ---- */

static int add(const struct watch *wish)
{
    struct watch *w = malloc(sizeof *w);
    if (!w)
        return -1;
    *w = *wish;
    w->changed = true;
    pthread_mutex_lock(&lock);
    w->id = next_id++;
    w->next = watches;
    watches = w;
    post();
    int id = w->id;
    pthread_mutex_unlock(&lock);
    return id;
}

static struct watch *find(int id, bool timer)
{
    for (struct watch *w = watches; w; w = w->next)
        if (w->id == id && w->timer == timer && !w->removed)
            return w;
    return NULL;
}

static int add_handle(int fd, int events, virEventHandleCallback on_handle, void *opaque,
                      virFreeCallback free_opaque)
{
    return add(&(struct watch){
        .fd = fd, .events = events, .on_handle = on_handle, .opaque = opaque, .free_opaque = free_opaque});
}

static void update_handle(int id, int events)
{
    pthread_mutex_lock(&lock);
    struct watch *w = find(id, false);
    if (w && w->events != events) {
        w->events = events;
        w->changed = true;
        post();
    }
    pthread_mutex_unlock(&lock);
}

static int add_timeout(int period_msec, virEventTimeoutCallback on_timer, void *opaque,
                       virFreeCallback free_opaque)
{
    return add(&(struct watch){.timer = true,
                               .period_msec = period_msec,
                               .on_timer = on_timer,
                               .opaque = opaque,
                               .free_opaque = free_opaque});
}

static void update_timeout(int id, int period_msec)
{
    pthread_mutex_lock(&lock);
    struct watch *w = find(id, true);
    if (w) {
        w->period_msec = period_msec; /* also the same one: it begins anew */
        w->changed = true;
        post();
    }
    pthread_mutex_unlock(&lock);
}

static int take_off(int id, bool timer)
{
    pthread_mutex_lock(&lock);
    struct watch *w = find(id, timer);
    if (w) {
        w->removed = true;
        post();
    }
    pthread_mutex_unlock(&lock);
    return w ? 0 : -1;
}

static int remove_handle(int id)
{
    return take_off(id, false);
}

static int remove_timeout(int id)
{
    return take_off(id, true);
}

static void register_impl(void)
{
    virt.virEventRegisterImpl(add_handle, update_handle, remove_handle, add_timeout, update_timeout,
                              remove_timeout);
}

int virt_events_start(struct mig_error *err)
{
    int r = virt_library_load(err);
    if (r == 0)
        pthread_once(&once, register_impl);
    return r;
}

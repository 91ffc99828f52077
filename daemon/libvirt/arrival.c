/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/arrival.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#define LOOK_INTERVAL_MSEC 20
#define LOOK_INTERVAL_USEC (LOOK_INTERVAL_MSEC * USEC_PER_MSEC)
#define WORD_TIMEOUT_USEC  (60 * USEC_PER_SEC) /* for a source to put its guest back */

struct arrival {
    const char *name;
    int released_fd;
    struct arrival *next;
};

struct arrivals {
    pthread_mutex_t lock;
    struct arrival *list;
};

int arrivals_new(struct arrivals **ret)
{
    struct arrivals *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    pthread_mutex_init(&a->lock, NULL);
    *ret = a;
    return 0;
}

struct arrivals *arrivals_free(struct arrivals *a)
{
    if (!a)
        return NULL;
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

void arrivals_let_go(const char *domain, void *userdata)
{
    struct arrivals *a = userdata;
    pthread_mutex_lock(&a->lock);
    for (struct arrival *at = a->list; at; at = at->next)
        if (strcmp(at->name, domain) == 0)
            (void)eventfd_write(at->released_fd, 1);
    pthread_mutex_unlock(&a->lock);
}

static void insert(struct arrivals *a, struct arrival *it)
{
    pthread_mutex_lock(&a->lock);
    it->next = a->list;
    a->list = it;
    pthread_mutex_unlock(&a->lock);
}

static void take_out(struct arrivals *a, struct arrival *it)
{
    pthread_mutex_lock(&a->lock);
    struct arrival **at = &a->list;
    while (*at != it)
        at = &(*at)->next;
    *at = it->next;
    pthread_mutex_unlock(&a->lock);
}

static int gave_up(const char *name, struct mig_error *err)
{
    int r = mig_error_set(
        err, MIG_ERR_PEER_LOST, 0,
        "migd's migration of %s ended before its memory was here: the guest stays at the source", name);
    mig_error_hint(err, "migctl status %s at the source says why", name);
    return r;
}

static int came_alone(const char *name, struct mig_error *err)
{
    int r = mig_error_set(
        err, MIG_ERR_PEER_LOST, 0,
        "no migd came for the memory of %s, which one had announced: the guest stays at the source", name);
    mig_error_hint(err,
                   "the journal of migd there says why; if it only takes longer, raise ArrivalWait= here");
    return r;
}

static enum arrival_word hear(const struct arrival_wait *w)
{
    return w->hear ? w->hear(w->userdata) : ARRIVAL_WORD_NONE;
}

static void tell_whole(const char *name, const char *why)
{
    log_write(LOG_INFO, &(struct log_fields){.domain = name}, "%s the memory of %s: QEMU moves it", why,
              name);
}

/* Its migration ended, and nothing was decided for this side. QEMU may move the guest when the source says
 * that it runs there as before, and not when it says nothing: it may be about to put it back. */
static int ended(const struct arrival_wait *w, struct mig_error *err)
{
    const char *name = w->domain->name;
    uint64_t until_usec = deadline_in(w->hear ? WORD_TIMEOUT_USEC : 0);
    enum arrival_word word;
    while ((word = hear(w)) == ARRIVAL_WORD_NONE && now_usec() < until_usec &&
           fd_wait(w->cancel_fd, POLLIN, -1, deadline_in(LOOK_INTERVAL_USEC)) <= 0)
        ;
    if (word != ARRIVAL_WORD_WHOLE || w->settle(w->userdata) < 0)
        return gave_up(name, err);
    tell_whole(name, "migd at the source gave up moving");
    return 0;
}

static int wait_for_it(const struct arrival_wait *w, int released_fd, struct mig_error *err)
{
    struct pollfd fds[] = {{.fd = w->cancel_fd, .events = POLLIN}, {.fd = released_fd, .events = POLLIN}};
    uint64_t until_usec = deadline_in(w->first_usec);
    const char *name = w->domain->name;
    for (bool begun = false;;) {
        if (poll(fds, ELEMENTS(fds), LOOK_INTERVAL_MSEC) < 0 && errno != EINTR)
            return mig_error_set(err, MIG_ERR_FAILED, errno, "waiting for the memory of %s: %s", name,
                                 strerror(errno));
        if (fds[1].revents)
            return 0;
        if (fds[0].revents)
            return mig_error_set(err, MIG_ERR_CANCELLED, 0, "the arrival of %s was given up", name);
        bool runs = domain_is_borrowed(w->domain);
        if (begun && !runs)
            return ended(w, err);
        begun |= runs;
        enum arrival_word word = begun ? ARRIVAL_WORD_NONE : hear(w);
        if (word == ARRIVAL_WORD_STAYS)
            return gave_up(name, err);
        if (begun || (now_usec() < until_usec && word == ARRIVAL_WORD_NONE))
            continue;
        if (w->announced)
            return came_alone(name, err);
        if (w->settle(w->userdata) == 0) {
            tell_whole(name, "no migd came for");
            return 0;
        }
    }
}

int arrivals_wait(struct arrivals *a, const struct arrival_wait *w, struct mig_error *err)
{
    struct arrival it = {.name = w->domain->name, .released_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (it.released_fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "waiting for the memory of %s: %s", it.name,
                             strerror(errno));
    insert(a, &it);
    int r = wait_for_it(w, it.released_fd, err);
    take_out(a, &it);
    close(it.released_fd);
    return r;
}

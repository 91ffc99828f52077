/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport/link-watch.h"
#include "base/clock.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define LOOK_INTERVAL_MSEC 200
/* A probe that the peer has not had the time to answer is no silence. */
#define ANSWER_MIN_USEC (400 * USEC_PER_MSEC)

struct watched {
    struct channel *channel;
    uint64_t silent_since_usec; /* every look from then on found it silent; 0: the last one did not */
};

struct link_watch {
    uint64_t silence_usec;
    int end_fd;
    _Atomic bool fired;
    pthread_t thread;
    bool has_thread;
    size_t nchannels;
    struct watched channels[];
};

/*
 * One look is not enough. Probes of a closed window, whose receiver does not read, are further and further
 * apart: each is the first thing after a long time that asks for an answer, and for a round trip it has none.
 */
static bool is_silent(const struct link_watch *w, struct watched *c)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(c->channel->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || /* a UNIX socket */
        (!info.tcpi_unacked && !info.tcpi_probes) ||
        info.tcpi_last_ack_recv * USEC_PER_MSEC < w->silence_usec) {
        c->silent_since_usec = 0;
        return false;
    }
    uint64_t answer_usec = info.tcpi_rtt + UINT64_C(4) * info.tcpi_rttvar, now = now_usec();
    if (!c->silent_since_usec)
        c->silent_since_usec = now;
    return now - c->silent_since_usec >= MAX(answer_usec, ANSWER_MIN_USEC);
}

static void *watch(void *userdata)
{
    struct link_watch *w = userdata;
    struct pollfd end = {.fd = w->end_fd, .events = POLLIN};
    while (poll(&end, 1, LOOK_INTERVAL_MSEC) <= 0) {
        for (size_t i = 0; i < w->nchannels; i++)
            w->fired |= is_silent(w, &w->channels[i]);
        if (!w->fired)
            continue;
        for (size_t i = 0; i < w->nchannels; i++)
            w->channels[i].channel->ops->shutdown(w->channels[i].channel);
        break;
    }
    return NULL;
}

int link_watch_new(struct link_watch **ret, struct channel *const *channels, size_t nchannels,
                   uint64_t silence_usec)
{
    _cleanup_(link_watch_freep) struct link_watch *w =
        calloc(1, sizeof *w + nchannels * sizeof(struct watched));
    if (!w)
        return -ENOMEM;
    w->silence_usec = silence_usec;
    w->nchannels = nchannels;
    for (size_t i = 0; i < nchannels; i++)
        w->channels[i].channel = channels[i];
    w->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->end_fd < 0)
        return -errno;
    int r = pthread_create(&w->thread, NULL, watch, w);
    if (r != 0)
        return -r;
    w->has_thread = true;
    *ret = TAKE_PTR(w);
    return 0;
}

struct link_watch *link_watch_free(struct link_watch *w)
{
    if (!w)
        return NULL;
    if (w->has_thread) {
        eventfd_write(w->end_fd, 1);
        pthread_join(w->thread, NULL);
    }
    close_fd(&w->end_fd);
    free(w);
    return NULL;
}

bool link_watch_has_fired(const struct link_watch *w)
{
    return w && w->fired;
}

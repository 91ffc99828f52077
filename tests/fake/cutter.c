/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cutter.h"
#include "base/clock.h"
#include "base/fds.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { PAIRS_MAX = 64, PIECE_BYTES = 16384 };

struct way { /* one direction of a connection */
    int from, to;
    uint8_t bytes[PIECE_BYTES];
    size_t begin, end;
};
struct cutter {
    struct cutter_plan plan;
    char destination[108];
    int listen_fd, end_fd;
    pthread_t thread;
    _Atomic unsigned cuts;
    uint64_t passed, away_until_usec;
    size_t nways;
    struct way *ways[2 * PAIRS_MAX]; /* two for each connection, one behind the other */
};

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    return a;
}

static void drop_pair(struct cutter *c, size_t i)
{
    close(c->ways[i]->from);
    close(c->ways[i]->to);
    free(c->ways[i]);
    free(c->ways[i + 1]);
    c->nways -= 2;
    c->ways[i] = c->ways[c->nways];
    c->ways[i + 1] = c->ways[c->nways + 1];
}

static void take(struct cutter *c)
{
    int from = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (from < 0)
        return;
    struct sockaddr_un a = address_of(c->destination);
    int to = now_usec() < c->away_until_usec || c->nways == 2 * PAIRS_MAX
                 ? -1
                 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (to < 0 || connect(to, (struct sockaddr *)&a, sizeof a) < 0) {
        close(from);
        if (to >= 0)
            close(to);
        return;
    }
    fd_set_nonblock(to, true);
    struct way *there = calloc(1, sizeof *there), *back = calloc(1, sizeof *back);
    there->from = back->to = from;
    there->to = back->from = to;
    c->ways[c->nways++] = there;
    c->ways[c->nways++] = back;
}

/* False when the connection is at its end. */
static bool pass(struct cutter *c, struct way *w)
{
    if (w->begin == w->end) {
        ssize_t n = read(w->from, w->bytes, sizeof w->bytes);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        w->begin = 0;
        w->end = (size_t)n;
    }
    size_t size = w->end - w->begin;
    uint64_t next = c->cuts < CUTTER_CUTS_MAX ? c->plan.at_bytes[c->cuts] : 0;
    if (next) /* to the byte */
        size = MIN(size, next - c->passed);
    ssize_t n = send(w->to, w->bytes + w->begin, size, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN;
    w->begin += (size_t)n;
    c->passed += (uint64_t)n;
    return true;
}

static void cut_if_due(struct cutter *c)
{
    unsigned cuts = c->cuts;
    if (cuts == CUTTER_CUTS_MAX || !c->plan.at_bytes[cuts] || c->passed < c->plan.at_bytes[cuts])
        return;
    while (c->nways)
        drop_pair(c, 0);
    c->passed = 0;
    c->away_until_usec = now_usec() + c->plan.away_msec * USEC_PER_MSEC;
    c->cuts = cuts + 1;
}

static void *run(void *userdata)
{
    struct cutter *c = userdata;
    for (;;) {
        struct pollfd p[2 * PAIRS_MAX + 2] = {{.fd = c->end_fd, .events = POLLIN},
                                              {.fd = c->listen_fd, .events = POLLIN}};
        for (size_t i = 0; i < c->nways; i++) {
            bool full = c->ways[i]->begin < c->ways[i]->end;
            p[i + 2] = (struct pollfd){.fd = full ? c->ways[i]->to : c->ways[i]->from,
                                       .events = full ? POLLOUT : POLLIN};
        }
        poll(p, c->nways + 2, -1);
        if (p[0].revents)
            break;
        size_t n = c->nways;
        for (size_t i = n; i >= 2;
             i -= 2) { /* from behind: a pair that goes is replaced by one already seen */
            bool goes_on = true;
            for (size_t k = i - 2; k < i && goes_on; k++)
                if (p[k + 2].revents)
                    goes_on = pass(c, c->ways[k]);
            if (!goes_on)
                drop_pair(c, i - 2);
        }
        cut_if_due(c);
        if (p[1].revents)
            take(c);
    }
    return NULL;
}

int cutter_new(struct cutter **ret, const char *listen_path, const char *destination_path,
               const struct cutter_plan *plan)
{
    struct cutter *c = calloc(1, sizeof *c);
    struct sockaddr_un a = address_of(listen_path);
    c->plan = *plan;
    snprintf(c->destination, sizeof c->destination, "%s", destination_path);
    c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    c->end_fd = eventfd(0, EFD_CLOEXEC);
    if (bind(c->listen_fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(c->listen_fd, 64) < 0 ||
        pthread_create(&c->thread, NULL, run, c) != 0) {
        free(c);
        return -EIO;
    }
    *ret = c;
    return 0;
}

unsigned cutter_cuts(const struct cutter *c)
{
    return c->cuts;
}

struct cutter *cutter_free(struct cutter *c)
{
    eventfd_write(c->end_fd, 1);
    pthread_join(c->thread, NULL);
    while (c->nways)
        drop_pair(c, 0);
    close(c->listen_fd);
    close(c->end_fd);
    free(c);
    return NULL;
}

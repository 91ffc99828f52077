/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rounds over the page connections: the threads, who waits for whom, and how a round ends early.
 *
 * Each thread sleeps until a round begins, lets its sender work (page-sender.c) and says that it is done. The
 * caller of page_stream_round waits for all of them and for the cancel descriptor. The first error stops the
 * round: the other connections are shut down, since a round that lost one is of no use and a thread blocked
 * on a slow peer must not hold it up. After an error the stream is only good for freeing.
 */
#include "outgoing/page-stream.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/ratelimit.h"
#include "outgoing/page-sender.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>

struct stream_thread {
    struct page_stream *stream;
    unsigned index;
    struct channel *channel;
    struct page_sender *sender;
    struct flight *flight; /* NULL: nothing is acknowledged */
    uint64_t rounds_done;
    pthread_t thread;
};

struct page_stream {
    struct page_cursor cursor;
    struct page_counters counters;
    struct ratelimit *limit;
    struct page_stream_options options;
    int cancel_fd; /* borrowed */
    struct page_stream_looker looker;
    uint64_t deadline_usec; /* of a round; the caller's thread */
    int done_fd;            /* an eventfd: the last thread of a round is done */
    _Atomic uint64_t started_usec;
    _Atomic bool live; /* the counters are of a round that nobody has added up yet */
    _Atomic bool stop; /* the round that runs must end */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t begin;
    uint64_t rounds_begun;
    uint32_t round;
    unsigned running;
    unsigned fences; /* of the round that runs: how many will be sent; 0 while nobody has sent its own, and
                        another connection can still join */
    bool ending;
    uint64_t cpu_usec;
    int failure;
    struct mig_error error;

    _Atomic size_t nthreads; /* grows by the thread of the rounds; what lies below is whole */
    struct stream_thread threads[WIRE_CONNECTIONS_MAX];
};

static void shut_all_down(struct page_stream *s)
{
    for (size_t i = 0; i < s->nthreads; i++)
        s->threads[i].channel->ops->shutdown(s->threads[i].channel);
}

/* The first failure is the one that is told: the others follow from it. */
static void fail(struct page_stream *s, const struct stream_thread *t, int r)
{
    char what[64];
    bool first;
    pthread_mutex_lock(&s->lock);
    first = s->failure == 0;
    if (first) {
        s->failure = r;
        if (t) {
            snprintf(what, sizeof what, "sending pages on connection %u", t->index);
            channel_error(t->channel, r, &s->error, what);
        } else if (r == -ECANCELED) {
            mig_error_set(&s->error, MIG_ERR_CANCELLED, 0, "sending pages: cancelled");
        } else if (r == -ETIME) {
            mig_error_set(&s->error, MIG_ERR_TIMED_OUT, 0, "sending pages: the time for it is over");
        } else {
            mig_error_set(&s->error, MIG_ERR_FAILED, -r, "sending pages: waiting for the connections failed");
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (!first)
        return;
    s->stop = true;
    ratelimit_cancel(s->limit);
    shut_all_down(s);
}

/* From the first fence of a round on no connection joins it: all say how many they are. */
static unsigned close_round(struct page_stream *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->fences == 0)
        s->fences = (unsigned)s->nthreads;
    unsigned n = s->fences;
    pthread_mutex_unlock(&s->lock);
    return s->options.grows ? n : 0;
}

static void *stream_thread(void *p)
{
    struct stream_thread *t = p;
    struct page_stream *s = t->stream;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->ending && s->rounds_begun == t->rounds_done)
            pthread_cond_wait(&s->begin, &s->lock);
        if (s->ending)
            break;
        t->rounds_done = s->rounds_begun;
        uint32_t round = s->round;
        pthread_mutex_unlock(&s->lock);
        uint64_t cpu = thread_cpu_usec();
        int r = page_sender_round(t->sender, round, &s->stop);
        if (r == 0)
            r = page_sender_fence(t->sender, round, close_round(s));
        if (r < 0)
            fail(s, t, r);
        cpu = thread_cpu_usec() - cpu;
        pthread_mutex_lock(&s->lock);
        s->cpu_usec += cpu;
        if (--s->running == 0)
            eventfd_write(s->done_fd, 1);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int page_stream_add(struct page_stream *s, struct channel *channel)
{
    if (s->nthreads == WIRE_CONNECTIONS_MAX)
        return -E2BIG;
    struct stream_thread *t = &s->threads[s->nthreads];
    *t = (struct stream_thread){.stream = s, .index = (unsigned)s->nthreads, .channel = channel};
    int r = s->options.acknowledged ? flight_new(&t->flight) : 0;
    const struct page_sender_setup setup = {.channel = channel,
                                            .cursor = &s->cursor,
                                            .limit = s->limit,
                                            .counters = &s->counters,
                                            .sent_digests = s->options.sent_digests,
                                            .exact_digests = s->options.exact_digests,
                                            .flight = t->flight,
                                            .checksum = s->options.checksum,
                                            .compression = s->options.compression,
                                            .codecs = s->options.codecs};
    if (r == 0)
        r = page_sender_new(&t->sender, &setup);
    pthread_mutex_lock(&s->lock);
    bool joins = s->running > 0 && s->fences == 0;
    t->rounds_done = s->rounds_begun - joins;
    if (r == 0)
        r = -pthread_create(&t->thread, NULL, stream_thread, t);
    if (r == 0) {
        s->nthreads++;
        s->running += joins;
    }
    pthread_mutex_unlock(&s->lock);
    if (r < 0) {
        t->sender = page_sender_free(t->sender);
        t->flight = flight_free(t->flight);
    }
    return r;
}

void page_stream_set_looker(struct page_stream *s, const struct page_stream_looker *looker)
{
    s->looker = *looker;
}

int page_stream_new(struct page_stream **ret, struct channel *const *channels, size_t nchannels,
                    struct region *const *regions, size_t nregions, const struct page_stream_options *options,
                    struct mig_error *err)
{
    if (nchannels == 0 || nchannels > WIRE_CONNECTIONS_MAX || nregions > WIRE_REGIONS_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, EINVAL,
                             "%zu page connections and %zu memory regions: 1 to %u and up to %u are possible",
                             nchannels, nregions, WIRE_CONNECTIONS_MAX, WIRE_REGIONS_MAX);
    struct page_stream *s = calloc(1, sizeof *s);
    if (!s)
        return mig_error_oom(err);
    page_cursor_init(&s->cursor, regions, (uint32_t)nregions);
    if (options->batch_pages > 0)
        s->cursor.batch_pages = MIN(options->batch_pages, BATCH_PAGES);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->begin, NULL);
    s->options = *options;
    s->cancel_fd = options->cancel_fd;
    s->deadline_usec = USEC_INFINITY;
    s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = s->done_fd < 0 ? -errno : ratelimit_new_child(&s->limit, options->total, 0);
    for (size_t i = 0; i < nchannels && r == 0; i++)
        r = page_stream_add(s, channels[i]);
    if (r < 0) {
        page_stream_free(s);
        return mig_error_set(err, r == -ENOMEM ? MIG_ERR_NO_MEMORY : MIG_ERR_FAILED, -r,
                             "cannot start the threads that send pages");
    }
    *ret = s;
    return 0;
}

struct page_stream *page_stream_free(struct page_stream *s)
{
    if (!s)
        return NULL;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_broadcast(&s->begin);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->nthreads; i++) {
        pthread_join(s->threads[i].thread, NULL);
        page_sender_free(s->threads[i].sender);
        flight_free(s->threads[i].flight);
    }
    ratelimit_free(s->limit);
    close_fd(&s->done_fd);
    pthread_cond_destroy(&s->begin);
    pthread_mutex_destroy(&s->lock);
    page_cursor_destroy(&s->cursor);
    free(s);
    return NULL;
}

void page_stream_set_bandwidth(struct page_stream *s, uint64_t bytes_per_sec)
{
    ratelimit_set(s->limit, bytes_per_sec);
}

struct ratelimit *page_stream_limit(struct page_stream *s)
{
    return s->limit;
}

static void read_counters(struct page_stream *s, struct page_round *ret)
{
    *ret = (struct page_round){
        .normal_pages = s->counters.normal_pages,
        .zero_pages = s->counters.zero_pages,
        .begun_pages = s->counters.begun_pages,
        .payload_bytes = s->counters.payload_bytes,
        .wire_bytes = s->counters.wire_bytes,
        .packed_bytes = s->counters.packed_bytes,
        .packed_wire_bytes = s->counters.packed_wire_bytes,
        .changed_pages = s->counters.changed_pages,
        .usec = now_usec() - s->started_usec,
    };
}

void page_stream_progress(struct page_stream *s, struct page_round *ret)
{
    *ret = (struct page_round){0};
    if (s->live)
        read_counters(s, ret);
}

void page_stream_settled(struct page_stream *s)
{
    s->live = false;
}

static void reset_counters(struct page_stream *s)
{
    s->counters.begun_pages = s->counters.normal_pages = s->counters.zero_pages = s->counters.payload_bytes =
        0;
    s->counters.wire_bytes = s->counters.changed_pages = 0;
    s->counters.packed_bytes = s->counters.packed_wire_bytes = 0;
    s->started_usec = now_usec();
    s->live = true;
}

/* The failure of this or an earlier round. */
static int failure(struct page_stream *s, struct mig_error *err)
{
    pthread_mutex_lock(&s->lock);
    int r = s->failure;
    if (r < 0 && err)
        *err = s->error;
    pthread_mutex_unlock(&s->lock);
    return r;
}

static void begin_round(struct page_stream *s, uint32_t round)
{
    reset_counters(s);
    page_cursor_start(&s->cursor, round == 0 && !s->options.resumed);
    pthread_mutex_lock(&s->lock);
    s->round = round;
    s->cpu_usec = 0;
    s->running = (unsigned)s->nthreads;
    s->fences = 0;
    s->rounds_begun++;
    pthread_cond_broadcast(&s->begin);
    pthread_mutex_unlock(&s->lock);
}

void page_stream_confirmed(struct page_stream *s)
{
    for (size_t i = 0; i < s->nthreads; i++)
        if (s->threads[i].flight)
            flight_clear(s->threads[i].flight);
}

int page_stream_put_back(struct page_stream *s, const uint64_t *applied, uint64_t *ret_pages)
{
    *ret_pages = 0;
    for (size_t i = 0; i < s->nthreads; i++)
        if (!s->threads[i].flight || applied[i] > page_sender_frames(s->threads[i].sender))
            return -EPROTO;
    for (size_t i = 0; i < s->nthreads; i++) {
        flight_applied(s->threads[i].flight, applied[i]);
        *ret_pages += flight_put_back(s->threads[i].flight, s->cursor.regions);
    }
    return 0;
}

void page_stream_set_deadline(struct page_stream *s, uint64_t deadline_usec)
{
    s->deadline_usec = deadline_usec;
}

/* Until the round is over, with a look now and then. */
static int wait_for_end(struct page_stream *s)
{
    const struct page_stream_looker *l = &s->looker;
    for (;;) {
        uint64_t look_usec = l->interval_usec ? deadline_in(l->interval_usec) : USEC_INFINITY;
        int r = fd_wait(s->done_fd, POLLIN, s->cancel_fd, MIN(s->deadline_usec, look_usec));
        if (r != -ETIMEDOUT || look_usec >= s->deadline_usec)
            return r;
        l->look(l->userdata);
    }
}

int page_stream_round(struct page_stream *s, uint32_t round, struct page_round *ret, struct mig_error *err)
{
    int r = failure(s, err);
    if (r < 0)
        return r;
    begin_round(s, round);
    r = wait_for_end(s);
    if (r < 0) {
        fail(s, NULL, r == -ETIMEDOUT ? -ETIME : r);
        fd_wait(s->done_fd, POLLIN, -1, USEC_INFINITY); /* soon: every thread was woken */
    }
    eventfd_t count;
    eventfd_read(s->done_fd, &count);
    r = failure(s, err);
    if (r < 0) {
        page_cursor_abandon(&s->cursor);
        return r;
    }
    read_counters(s, ret);
    ret->cpu_usec = s->cpu_usec;
    return 0;
}

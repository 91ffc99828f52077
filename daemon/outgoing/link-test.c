/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A measurement has a connection per stream. A step sends over the first n of them at the same time, by a
 * thread each, for about a second, and asks each of them in the end what came: bytes and time of a step are
 * the destination's, so what still lies in buffers here is not taken for sent. How much a step may send is
 * bounded by what the one before has shown, or the buffers of a slow link would take longer to drain than the
 * whole may last.
 *
 * The destination may lie about itself, but not about how many bytes it was sent, nor for longer than it was
 * given.
 */
#include "outgoing/link-test.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/hex.h"
#include "base/ratelimit.h"
#include "migration/dialogue.h"
#include "transport/security.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define CONNECT_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define WHOLE_USEC           (14 * USEC_PER_SEC) /* the destination's patience ends a little later */
#define STEP_USEC            USEC_PER_SEC
#define RAMP_USEC            (250 * USEC_PER_MSEC) /* a first guess that took so long is good enough */
#define RAMP_MAX_BYTES       (UINT64_C(256) << 20)
#define RAMP_MIN_BYTES       (UINT64_C(64) << 10)
#define FRAME_MAX_BYTES      (1u << 20)
#define FRAME_MIN_BYTES      (16u << 10)
#define ROUND_TRIPS          5
#define GAIN_PERCENT         8u

struct stream {
    struct link_test_run *run;
    struct channel *channel;
    struct frame_stream frames;
    pthread_t thread;
    /* Of the newest step. */
    uint64_t sent_bytes, cpu_usec;
    uint64_t got_bytes, got_usec, got_cpu_usec; /* what the destination says */
    int result;
    struct mig_error error;
};

struct link_test_run {
    const char *destination;
    struct security *security;
    struct ratelimit *limit;
    int cancel_fd;
    int file; /* what is sent */
    uint8_t *map;
    char token[33];
    uint64_t deadline_usec;
    struct stream streams[WIRE_PROBE_STREAMS_MAX];
    size_t nstreams;
    /* Of the step that runs. */
    uint64_t until_usec, frame_bytes;
    _Atomic int64_t budget_bytes;
    _Atomic unsigned running;
    struct stream *_Atomic failed; /* the first that did: others follow from it */
    int done_fd;
};

/* ---- connections ---- */

static int too_old(const struct link_test_run *t, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "migd at %s is too old to measure the link with",
                          t->destination);
    mig_error_hint(err, "update migd there");
    return r;
}

static int say_hello(struct link_test_run *t, struct stream *s, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *hello = json_object_new_object(), *answer = NULL;
    bool ok;
    if (!hello || json_add_bool(hello, "probe", true) < 0 || json_add_string(hello, "token", t->token) < 0)
        return mig_error_oom(err);
    int r = dialogue_hello_raw(&s->frames, hello, &answer, err);
    if (r < 0)
        return r;
    if (json_object_object_get_ex(answer, "error", NULL)) {
        struct mig_error why = MIG_ERROR_INIT;
        dialogue_peer_error(answer, "The destination refuses to be measured", &why);
        if (why.code == MIG_ERR_PEER_PROTOCOL) /* what it says to a question that it does not know */
            return too_old(t, err);
        r = mig_error_set(err, why.code == MIG_ERR_BUSY ? MIG_ERR_BUSY : MIG_ERR_PEER_REFUSED, 0, "%s",
                          why.message);
        mig_error_hint(err, "%s", why.hint);
        return r;
    }
    if (json_get_bool(answer, "ok", &ok) < 0 || !ok)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                             "%s broke the protocol: asked for a measurement, it says neither yes nor no",
                             t->destination);
    return 0;
}

static int open_stream(struct link_test_run *t, struct mig_error *err)
{
    struct stream *s = &t->streams[t->nstreams];
    int r = security_connect(t->security, &s->channel, t->destination, NULL, CONNECT_TIMEOUT_USEC,
                             t->cancel_fd, err);
    if (r < 0)
        return r;
    t->nstreams++;
    s->run = t;
    s->channel->deadline_usec = t->deadline_usec;
    frame_stream_init(&s->frames, s->channel, false);
    return say_hello(t, s, err);
}

/* ---- a step ---- */

/* By sendfile to another host and by write to this one, as pages are sent. */
static int send_frame(struct stream *s, uint64_t bytes)
{
    struct channel *c = s->channel;
    struct wire_header h = {.type = WIRE_PROBE, .length = bytes};
    struct iovec iov = {s->run->map, bytes};
    if (c->local)
        return frame_send(&s->frames, &h, &iov, 1);
    int r = frame_send(&s->frames, &h, NULL, 0);
    if (r == 0)
        r = c->ops->send_file(c, s->run->file, 0, bytes);
    return r == -EOPNOTSUPP ? c->ops->sendv(c, &iov, 1) : r;
}

static int ask_result(struct stream *s, struct mig_error *err)
{
    static const char *const names[] = {"probe-result", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = WHOLE_USEC, .what = "the result of the measurement"};
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    int name;
    int r = dialogue_send(&s->frames, "probe-end", NULL, err);
    if (r == 0)
        r = dialogue_receive(&s->frames, &expect, &name, &o, NULL, err);
    if (r < 0)
        return r;
    if (json_get_u64(o, "bytes", &s->got_bytes) < 0 || json_get_u64(o, "usec", &s->got_usec) < 0 ||
        json_get_u64(o, "cpu-usec", &s->got_cpu_usec) < 0 || s->got_bytes != s->sent_bytes ||
        (s->sent_bytes && s->got_usec == 0) || s->got_usec > WHOLE_USEC || s->got_cpu_usec > WHOLE_USEC)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                             "%s broke the protocol: its result of the measurement makes no sense",
                             s->channel->peer);
    return 0;
}

static int send_all(struct stream *s, struct mig_error *err)
{
    struct link_test_run *t = s->run;
    uint64_t bytes = t->frame_bytes;
    int r = 0;
    s->sent_bytes = 0;
    while (r == 0 && now_usec() < t->until_usec && atomic_fetch_sub(&t->budget_bytes, (int64_t)bytes) > 0) {
        r = ratelimit_take(t->limit, bytes);
        if (r == 0)
            r = send_frame(s, bytes);
        s->sent_bytes += bytes;
    }
    if (r == -ECANCELED)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0, "The measurement was cancelled");
    return r < 0 ? channel_error(s->channel, r, err, "measuring the link") : ask_result(s, err);
}

static void *stream_thread(void *userdata)
{
    struct stream *s = userdata;
    uint64_t cpu = thread_cpu_usec();
    s->error = MIG_ERROR_INIT;
    s->result = send_all(s, &s->error);
    s->cpu_usec = thread_cpu_usec() - cpu;
    struct stream *nobody = NULL;
    if (s->result < 0)
        atomic_compare_exchange_strong(&s->run->failed, &nobody, s);
    if (s->result < 0 || atomic_fetch_sub(&s->run->running, 1) == 1)
        eventfd_write(s->run->done_fd, 1);
    return NULL;
}

/* Whoever still sends gets an error at once. */
static void stop_all(struct link_test_run *t)
{
    ratelimit_cancel(t->limit);
    for (size_t i = 0; i < t->nstreams; i++)
        t->streams[i].channel->ops->shutdown(t->streams[i].channel);
}

static int took_too_long(const struct link_test_run *t, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_PEER_TIMEOUT, 0, "The link to %s could not be measured within %llu s",
                          t->destination, WHOLE_USEC / USEC_PER_SEC);
    mig_error_hint(err, "it is very slow, or TotalBandwidth= of migd.conf leaves too little of it");
    return r;
}

/* Until the threads are through. */
static int wait_for_streams(struct link_test_run *t, size_t n, struct mig_error *err)
{
    int r = fd_wait(t->done_fd, POLLIN, t->cancel_fd, t->deadline_usec);
    if (r < 0 || t->failed)
        stop_all(t);
    for (size_t i = 0; i < n; i++)
        pthread_join(t->streams[i].thread, NULL);
    if (r == -ECANCELED)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0, "The measurement was cancelled");
    if (r < 0)
        return took_too_long(t, err);
    const struct stream *failed = t->failed;
    if (failed && err)
        *err = failed->error;
    return failed ? failed->result : 0;
}

static int send_over(struct link_test_run *t, size_t n, uint64_t budget_bytes, uint64_t usec,
                     struct link_test_step *ret, struct mig_error *err)
{
    eventfd_t count;
    eventfd_read(t->done_fd, &count);
    t->budget_bytes = (int64_t)budget_bytes;
    t->frame_bytes = MAX(MIN(budget_bytes / 128, (uint64_t)FRAME_MAX_BYTES), (uint64_t)FRAME_MIN_BYTES);
    t->until_usec = deadline_in(usec);
    t->running = (unsigned)n;
    size_t started = 0;
    for (; started < n; started++)
        if (pthread_create(&t->streams[started].thread, NULL, stream_thread, &t->streams[started]) != 0)
            break;
    if (started < n) {
        stop_all(t);
        for (size_t i = 0; i < started; i++)
            pthread_join(t->streams[i].thread, NULL);
        return mig_error_set(err, MIG_ERR_NO_MEMORY, 0, "Cannot start the threads that measure");
    }
    int r = wait_for_streams(t, n, err);
    if (r < 0)
        return r;
    *ret = (struct link_test_step){.connections = (unsigned)n};
    uint64_t longest_usec = 1;
    for (size_t i = 0; i < n; i++) {
        const struct stream *s = &t->streams[i];
        ret->bytes += s->got_bytes;
        longest_usec = MAX(longest_usec, s->got_usec);
        ret->sender_cpu_usec += s->cpu_usec;
        ret->receiver_cpu_usec += s->got_cpu_usec;
    }
    ret->bytes_per_sec = (uint64_t)((double)ret->bytes * USEC_PER_SEC / (double)longest_usec);
    return 0;
}

/* ---- the whole ---- */

static int measure_round_trip(struct link_test_run *t, uint64_t *ret, struct mig_error *err)
{
    struct stream *s = &t->streams[0];
    uint64_t best = UINT64_MAX;
    s->sent_bytes = 0;
    for (int i = 0; i < ROUND_TRIPS; i++) {
        uint64_t began = now_usec();
        int r = ask_result(s, err);
        if (r < 0)
            return r;
        best = MIN(best, now_usec() - began);
    }
    *ret = best;
    return 0;
}

/* More and more over one connection, until it says something about the rate; also past TCP's slow start. */
static int ramp(struct link_test_run *t, uint64_t *ret_rate, struct mig_error *err)
{
    for (uint64_t bytes = RAMP_MIN_BYTES;; bytes *= 4) {
        struct link_test_step step;
        uint64_t began = now_usec();
        int r = send_over(t, 1, bytes, STEP_USEC, &step, err);
        if (r < 0)
            return r;
        *ret_rate = step.bytes_per_sec;
        if (now_usec() - began >= RAMP_USEC || bytes >= RAMP_MAX_BYTES)
            return 0;
    }
}

static int measure(struct link_test_run *t, struct link_test *ret, struct mig_error *err)
{
    uint64_t rate = 0;
    int r = open_stream(t, err);
    if (r == 0)
        r = measure_round_trip(t, &ret->round_trip_usec, err);
    if (r == 0)
        r = ramp(t, &rate, err);
    for (size_t n = 1; r == 0 && n <= WIRE_PROBE_STREAMS_MAX; n *= 2) {
        while (r == 0 && t->nstreams < n)
            r = open_stream(t, err);
        struct link_test_step *step = &ret->steps[ret->nsteps];
        if (r == 0)
            r = send_over(t, n, rate * 5 / 2 + FRAME_MIN_BYTES, STEP_USEC, step, err);
        if (r < 0)
            return r;
        uint64_t best = ret->steps[ret->best].bytes_per_sec;
        bool gained = ret->nsteps == 0 || step->bytes_per_sec > best + best * GAIN_PERCENT / 100;
        if (gained)
            ret->best = ret->nsteps;
        ret->nsteps++;
        rate = MAX(rate, step->bytes_per_sec);
        if (!gained)
            break;
    }
    return r;
}

static void look_at_tcp(const struct link_test_run *t, struct link_test *ret)
{
    uint64_t rtt_sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < t->nstreams; i++) {
        struct tcp_info info = {0};
        socklen_t size = sizeof info;
        if (getsockopt(t->streams[i].channel->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
            continue; /* a UNIX socket */
        rtt_sum += info.tcpi_rtt;
        ret->retransmissions += info.tcpi_total_retrans;
        n++;
    }
    ret->loaded_rtt_usec = n ? rtt_sum / n : 0;
}

static int prepare(struct link_test_run *t, struct ratelimit *total, struct mig_error *err)
{
    t->file = memfd_create("link-test", MFD_CLOEXEC);
    if (t->file < 0 || ftruncate(t->file, FRAME_MAX_BYTES) < 0)
        return mig_error_oom(err);
    void *map = mmap(NULL, FRAME_MAX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, t->file, 0);
    if (map == MAP_FAILED)
        return mig_error_oom(err);
    t->map = map;
    for (size_t i = 0; i < FRAME_MAX_BYTES; i++)
        t->map[i] = (uint8_t)(i * 2654435761u >> 13);
    t->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = t->done_fd < 0 ? -errno : hex_random(t->token, sizeof t->token - 1);
    if (r == 0)
        r = ratelimit_new_child(&t->limit, total, 0);
    return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot measure: %s", strerror(-r)) : 0;
}

static void clear(struct link_test_run *t)
{
    for (size_t i = 0; i < t->nstreams; i++)
        channel_free(t->streams[i].channel);
    ratelimit_free(t->limit);
    if (t->map)
        munmap(t->map, FRAME_MAX_BYTES);
    close_fd(&t->file);
    close_fd(&t->done_fd);
    free(t);
}

int outgoing_link_test(struct link_test *ret, struct security *security, const char *destination,
                       struct ratelimit *total, int cancel_fd, struct mig_error *err)
{
    struct link_test result = {.cap_bytes_per_sec = total ? ratelimit_share(total) : 0};
    struct link_test_run *t = calloc(1, sizeof *t);
    if (!t)
        return mig_error_oom(err);
    *t = (struct link_test_run){.destination = destination,
                                .security = security,
                                .cancel_fd = cancel_fd,
                                .file = -1,
                                .done_fd = -1,
                                .deadline_usec = deadline_in(WHOLE_USEC)};
    int r = prepare(t, total, err);
    if (r == 0)
        r = measure(t, &result, err);
    if (r == 0) {
        look_at_tcp(t, &result);
        snprintf(result.kind, sizeof result.kind, "%s", t->streams[0].channel->ops->kind);
        snprintf(result.cipher, sizeof result.cipher, "%s", security_cipher(t->streams[0].channel));
        *ret = result;
    }
    clear(t);
    return r;
}

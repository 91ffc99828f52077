/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The other end of a measurement of the link: bytes are counted and thrown away. Nothing of this host is
 * touched or told, and what it costs is bounded: so many measurements at the same time, each with so many
 * connections for so long.
 *
 * A connection's thread owns all that it uses, its cancel descriptor included, so that nobody has to wait for
 * it; only the table of measurements is shared.
 */
#include "incoming/probe.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "base/printable.h"
#include "migration/dialogue.h"
#include <pthread.h>
#include <string.h>

#define STACK_BYTES     (256u * 1024)
#define SCRATCH_BYTES   (512u * 1024)
#define TOKEN_MAX_BYTES 64u

static struct measurement {
    char token[TOKEN_MAX_BYTES + 1];
    unsigned connections; /* 0: not there */
} measurements[PROBES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of them */

struct probed {
    struct channel *channel;
    struct frame_stream stream;
    struct measurement *of; /* counted there */
    int cancel_fd;
    uint8_t *scratch;
    /* Since the newest result. */
    uint64_t bytes, began_usec, began_cpu_usec;
};

static int join_measurement(const char *token, struct measurement **ret)
{
    struct measurement *found = NULL, *free_one = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < ELEMENTS(measurements); i++) {
        struct measurement *m = &measurements[i];
        if (m->connections == 0)
            free_one = m;
        else if (strcmp(m->token, token) == 0)
            found = m;
    }
    if (!found && free_one)
        memcpy(free_one->token, token, strlen(token) + 1);
    found = found ? found : free_one;
    bool ok = found && found->connections < WIRE_PROBE_STREAMS_MAX;
    if (ok)
        found->connections++;
    pthread_mutex_unlock(&lock);
    *ret = ok ? found : NULL;
    return ok ? 0 : -EBUSY;
}

static void probed_free(struct probed *p)
{
    if (p->of) {
        pthread_mutex_lock(&lock);
        p->of->connections--;
        pthread_mutex_unlock(&lock);
    }
    channel_free(p->channel);
    close_fd(&p->cancel_fd);
    free(p->scratch);
    free(p);
}

static int throw_away(struct probed *p, const struct wire_header *h, struct mig_error *err)
{
    struct frame_payload payload;
    frame_payload_begin(&payload, h);
    if (p->began_usec == 0) {
        p->began_usec = now_usec();
        p->began_cpu_usec = thread_cpu_usec();
    }
    for (uint64_t left = h->length; left > 0;) {
        struct iovec iov = {p->scratch, MIN(left, (uint64_t)SCRATCH_BYTES)};
        left -= iov.iov_len;
        int r = frame_payload_recv(&p->stream, &payload, &iov, 1, err);
        if (r < 0)
            return r;
    }
    p->bytes += h->length;
    return frame_payload_end(&p->stream, &payload, err);
}

static int tell(struct probed *p, struct mig_error *err)
{
    uint64_t usec = p->began_usec ? now_usec() - p->began_usec : 0;
    uint64_t cpu_usec = p->began_usec ? thread_cpu_usec() - p->began_cpu_usec : 0;
    struct json_object *o = json_object_new_object();
    if (!o || json_add_u64(o, "bytes", p->bytes) < 0 || json_add_u64(o, "usec", usec) < 0 ||
        json_add_u64(o, "cpu-usec", cpu_usec) < 0) {
        json_object_put(o);
        return mig_error_oom(err);
    }
    p->bytes = p->began_usec = 0;
    return dialogue_send(&p->stream, "probe-result", o, err);
}

static int say_ok(struct probed *p, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_bool(o, "ok", true) < 0 || json_add_string(o, "version", PACKAGE_VERSION) < 0 ||
        json_add_u64(o, "probe-seconds", PROBE_MAX_USEC / USEC_PER_SEC) < 0)
        return mig_error_oom(err);
    return frame_send_json(&p->stream, WIRE_HELLO, o, err);
}

static int serve(struct probed *p, struct mig_error *err)
{
    static const char *const names[] = {"probe-end", NULL};
    const struct dialogue_expect expect = {.names = names,
                                           .frame_types = 1u << WIRE_PROBE,
                                           .timeout_usec = PROBE_MAX_USEC,
                                           .what = "something to throw away"};
    int r = say_ok(p, err);
    while (r == 0) {
        struct wire_header h;
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name;
        r = dialogue_receive(&p->stream, &expect, &name, &o, &h, err);
        if (r == 0)
            r = name == 0 ? tell(p, err) : throw_away(p, &h, err);
    }
    return r;
}

static void *run(void *userdata)
{
    struct probed *p = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    int r = serve(p, &err);
    if (err.code != MIG_ERR_PEER_LOST) { /* else it has what it wanted */
        make_printable(err.message);
        log_info("Measurement of the link by %s: %s", p->channel->peer,
                 mig_error_is_set(&err) ? err.message : strerror(-r));
    }
    probed_free(p);
    return NULL;
}

static int start(struct probed *p)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_t thread;
    int r = -pthread_create(&thread, &attr, run, p);
    pthread_attr_destroy(&attr);
    return r;
}

static int accept_probe(struct probed *p, struct json_object *hello, int cancel_fd, struct mig_error *err)
{
    char token[TOKEN_MAX_BYTES + 1];
    bool wanted;
    if (json_get_bool(hello, "probe", &wanted) < 0 || !wanted ||
        json_copy_string(hello, "token", token, sizeof token) < 0 || strlen(token) < 16)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO asks for a measurement without a token");
    if (join_measurement(token, &p->of) < 0) {
        int r = mig_error_set(err, MIG_ERR_BUSY, 0, "The link of this host is being measured by others");
        mig_error_hint(err, "try again in %llu s", PROBE_MAX_USEC / USEC_PER_SEC);
        return r;
    }
    p->scratch = malloc(SCRATCH_BYTES);
    p->cancel_fd = fd_dup(cancel_fd);
    if (!p->scratch || p->cancel_fd < 0)
        return mig_error_oom(err);
    p->channel->cancel_fd = p->cancel_fd;
    p->channel->deadline_usec = deadline_in(PROBE_MAX_USEC);
    int r = start(p);
    return r < 0 ? mig_error_set(err, MIG_ERR_NO_MEMORY, -r, "Cannot start a thread") : 0;
}

void probe_answer(struct channel *channel, const struct frame_stream *stream, struct json_object *hello,
                  int cancel_fd)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct probed *p = calloc(1, sizeof *p);
    if (!p) {
        channel_free(channel);
        json_object_put(hello);
        return;
    }
    *p = (struct probed){.channel = channel, .stream = *stream, .cancel_fd = -1};
    p->stream.channel = channel;
    p->stream.checksum = false;
    if (accept_probe(p, hello, cancel_fd, &err) < 0) {
        dialogue_refuse(&p->stream, &err);
        probed_free(p);
    }
    json_object_put(hello);
}

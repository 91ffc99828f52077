/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/state-stream.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/ratelimit.h"
#include "outgoing/state-keep.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define SAVE_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define CHUNK_BYTES       (256u * 1024)
/* A device that hands out PRE_COPY data without end must not hold up a round. */
#define DRAIN_MAX_BYTES (UINT64_C(64) << 20)

enum work { WORK_NONE, WORK_DRAIN, WORK_FINISH, WORK_QUIT };

struct source {
    struct state_source source;
    uint64_t bytes;
    struct device_precopy left; /* after the newest drain; of the thread while it works */
    XXH3_state_t *digest;
};

struct state_stream {
    struct channel *channel;
    struct frame_stream frames;
    int cancel_fd;
    struct source *sources;
    size_t nsources;
    uint8_t *chunk;
    bool keeps;
    struct state_keep kept;
    bool resend;             /* what is kept goes over a new connection first */
    struct ratelimit *limit; /* NULL: none */
    struct controller
        *vmm; /* NULL: none with state. Else HELLO announced it, and its stream is ended even when empty */
    _Atomic uint64_t device_bytes, vmm_bytes;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    enum work work; /* lock; NONE when the thread is idle */
    int result;     /* lock; of the newest work */
    struct mig_error error;
};

static int sending_failed(struct state_stream *s, int r, struct mig_error *err)
{
    if (r == -EPROTO)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, EPROTO,
                             "Sending device state: %s acknowledges what was not sent", s->channel->peer);
    return channel_error(s->channel, r, err, "Sending device state");
}

static int take_word(struct state_stream *s)
{
    struct wire_header h;
    int r = frame_recv(&s->frames, &h, NULL);
    if (r < 0)
        return r == -EPIPE ? -ECONNRESET : r;
    bool known = h.type == WIRE_APPLIED && (h.region < s->nsources || (s->vmm && h.region == WIRE_STATE_VMM));
    if (!known || (h.region < s->nsources && h.offset > s->sources[h.region].bytes))
        return -EPROTO;
    state_keep_taken(&s->kept, h.region, h.offset);
    return 0;
}

/* What the destination has said; waits for it only while there is no room for more. */
static int take_words(struct state_stream *s)
{
    int r = 0;
    while (s->keeps && r == 0) {
        if (s->kept.bytes < STATE_KEEP_MAX_BYTES)
            r = s->channel->ops->wait_readable(s->channel, 0);
        if (r == -ETIMEDOUT)
            return 0;
        if (r == 0)
            r = take_word(s);
    }
    return r;
}

static int send_chunk(struct state_stream *s, uint32_t index, uint64_t offset, const void *bytes, size_t size)
{
    struct wire_header h = {.type = WIRE_STATE, .region = index, .offset = offset, .length = size};
    struct iovec iov = {(void *)bytes, size};
    if (s->limit)
        ratelimit_charge(s->limit, sizeof h + size);
    return frame_send(&s->frames, &h, &iov, 1);
}

static int send_bytes(struct state_stream *s, uint32_t index, uint64_t offset, const void *bytes, size_t size,
                      struct mig_error *err)
{
    int r = send_chunk(s, index, offset, bytes, size);
    if (r == 0)
        r = take_words(s);
    return r < 0 ? sending_failed(s, r, err) : 0;
}

static int send_kept(struct state_stream *s, struct mig_error *err)
{
    int r = 0;
    for (struct state_chunk *c = s->kept.first; c && r == 0; c = c->next)
        r = send_chunk(s, c->index, c->offset, c->bytes, c->size);
    s->resend = r < 0;
    return r < 0 ? sending_failed(s, r, err) : 0;
}

static int send_end(struct state_stream *s, uint32_t index, uint64_t bytes, uint64_t digest,
                    struct mig_error *err)
{
    uint64_t wire_digest = htole64(digest);
    struct wire_header h = {
        .type = WIRE_STATE_END, .region = index, .offset = bytes, .length = sizeof wire_digest};
    struct iovec iov = {&wire_digest, sizeof wire_digest};
    int r = frame_send(&s->frames, &h, &iov, 1);
    return r < 0 ? sending_failed(s, r, err) : 0;
}

/* Until the end (final) or until nothing is there at the moment. */
static int copy_device(struct state_stream *s, uint32_t index, bool final, struct mig_error *err)
{
    struct source *src = &s->sources[index];
    struct device *d = src->source.device;
    for (uint64_t drained = 0; final || drained < DRAIN_MAX_BYTES;) {
        if (s->cancel_fd >= 0 && poll(&(struct pollfd){.fd = s->cancel_fd, .events = POLLIN}, 1, 0) > 0)
            return mig_error_set(err, MIG_ERR_CANCELLED, 0, "Cancelled while device %s handed out its state",
                                 d->name);
        ssize_t n = d->ops->read_state(d, s->chunk, CHUNK_BYTES, err);
        if (n == -ENOMSG || n == 0)
            break;
        if (n < 0)
            return (int)n;
        /* Before it is sent: it left the device, whatever becomes of the connection. In the end nothing is
         * resumed any more. */
        uint64_t offset = src->bytes;
        XXH3_64bits_update(src->digest, s->chunk, (size_t)n);
        src->bytes += (uint64_t)n;
        drained += (uint64_t)n;
        s->device_bytes += (uint64_t)n;
        if (s->keeps && !final && state_keep_add(&s->kept, index, offset, s->chunk, (size_t)n) < 0)
            return mig_error_oom(err);
        int r = send_bytes(s, index, offset, s->chunk, (size_t)n, err);
        if (r < 0)
            return r;
    }
    if (!final && (!d->ops->info(d)->has_precopy_info || d->ops->precopy_info(d, &src->left, NULL) < 0))
        src->left = (struct device_precopy){0}; /* it only says when it is best to go on */
    return final ? send_end(s, index, src->bytes, XXH3_64bits_digest(src->digest), err) : 0;
}

static int copy_memfd(struct state_stream *s, int fd, uint64_t size, XXH3_state_t *digest,
                      struct mig_error *err)
{
    for (uint64_t at = 0; at < size;) {
        size_t n = MIN(size - at, (uint64_t)CHUNK_BYTES);
        int r = pread_full(fd, s->chunk, n, at);
        if (r < 0)
            return mig_error_set(err, MIG_ERR_CONTROLLER, -r, "Reading the VMM's saved state: %s",
                                 strerror(-r));
        XXH3_64bits_update(digest, s->chunk, n);
        r = send_bytes(s, WIRE_STATE_VMM, at, s->chunk, n, err);
        if (r < 0)
            return r;
        at += n;
        s->vmm_bytes += n;
    }
    return 0;
}

static int copy_vmm_state(struct state_stream *s, struct mig_error *err)
{
    _cleanup_close_ int fd = -1;
    int r = s->vmm->ops->save(s->vmm, deadline_in(SAVE_TIMEOUT_USEC), &fd, err);
    if (r < 0)
        return mig_error_wrap(err, "Saving the state of the VMM");
    struct stat st = {0};
    if (fd >= 0 && fstat(fd, &st) < 0)
        return mig_error_set(err, MIG_ERR_CONTROLLER, errno, "Reading the VMM's saved state: %s",
                             strerror(errno));
    XXH3_state_t *digest = XXH3_createState();
    if (!digest)
        return mig_error_oom(err);
    XXH3_64bits_reset(digest);
    r = copy_memfd(s, fd, (uint64_t)st.st_size, digest, err);
    if (r == 0)
        r = send_end(s, WIRE_STATE_VMM, (uint64_t)st.st_size, XXH3_64bits_digest(digest), err);
    XXH3_freeState(digest);
    return r;
}

static int do_work(struct state_stream *s, enum work work, struct mig_error *err)
{
    bool final = work == WORK_FINISH;
    int kept = s->resend ? send_kept(s, err) : 0;
    if (kept < 0)
        return kept;
    for (uint32_t i = 0; i < s->nsources; i++) {
        if (!final && !s->sources[i].source.precopy)
            continue;
        int r = copy_device(s, i, final, err);
        if (r < 0)
            return r;
    }
    return final && s->vmm ? copy_vmm_state(s, err) : 0;
}

static void *run(void *userdata)
{
    struct state_stream *s = userdata;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->work == WORK_NONE)
            pthread_cond_wait(&s->wake, &s->lock);
        enum work work = s->work;
        if (work == WORK_QUIT)
            break;
        pthread_mutex_unlock(&s->lock);
        struct mig_error err = MIG_ERROR_INIT;
        int r = do_work(s, work, &err);
        pthread_mutex_lock(&s->lock);
        s->result = r;
        s->error = err;
        if (s->work == work)
            s->work = WORK_NONE;
        pthread_cond_broadcast(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void begin(struct state_stream *s, enum work work)
{
    pthread_mutex_lock(&s->lock);
    s->work = work;
    s->result = 0;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void state_stream_keep(struct state_stream *s)
{
    s->keeps = true;
}

int state_stream_resume(struct state_stream *s, struct channel *channel, const uint64_t *taken,
                        struct mig_error *err)
{
    for (uint32_t i = 0; i < s->nsources; i++)
        state_keep_taken(&s->kept, i, taken[i]);
    bool fits[WIRE_DEVICES_MAX] = {0};
    for (uint32_t i = 0; i < s->nsources; i++)
        fits[i] = taken[i] == s->sources[i].bytes;
    for (const struct state_chunk *c = s->kept.first; c; c = c->next)
        fits[c->index] |= c->offset == taken[c->index];
    for (uint32_t i = 0; i < s->nsources; i++)
        if (!fits[i])
            return mig_error_set(
                err, MIG_ERR_PEER_PROTOCOL, EPROTO,
                "%s says that it has %llu bytes of the state of device %s, which does not fit "
                "the %llu that were sent",
                channel->peer, (unsigned long long)taken[i], s->sources[i].source.device->name,
                (unsigned long long)s->sources[i].bytes);
    s->channel = channel;
    frame_stream_init(&s->frames, channel, s->frames.checksum);
    s->frames.send_sequence = s->frames.recv_sequence = 1;
    s->resend = s->kept.first != NULL;
    return 0;
}

void state_stream_set_limit(struct state_stream *s, struct ratelimit *limit)
{
    s->limit = limit;
}

void state_stream_drain(struct state_stream *s)
{
    begin(s, WORK_DRAIN);
}

void state_stream_finish(struct state_stream *s)
{
    begin(s, WORK_FINISH);
}

int state_stream_wait(struct state_stream *s, struct mig_error *err)
{
    pthread_mutex_lock(&s->lock);
    while (s->work != WORK_NONE)
        pthread_cond_wait(&s->wake, &s->lock);
    int r = s->result;
    if (r < 0 && err)
        *err = s->error;
    pthread_mutex_unlock(&s->lock);
    return r;
}

uint64_t state_stream_initial_bytes(const struct state_stream *s, bool *ret_renewed)
{
    uint64_t sum = 0;
    *ret_renewed = false;
    for (size_t i = 0; i < s->nsources; i++) {
        if (!s->sources[i].source.precopy)
            continue;
        sum = sum > UINT64_MAX - s->sources[i].left.initial_bytes ? UINT64_MAX
                                                                  : sum + s->sources[i].left.initial_bytes;
        *ret_renewed |= s->sources[i].left.renewed;
    }
    return sum;
}

uint64_t state_stream_device_bytes(const struct state_stream *s)
{
    return s->device_bytes;
}

uint64_t state_stream_vmm_bytes(const struct state_stream *s)
{
    return s->vmm_bytes;
}

struct state_stream *state_stream_free(struct state_stream *s)
{
    if (!s)
        return NULL;
    if (s->has_thread) {
        s->channel->ops->shutdown(s->channel);
        begin(s, WORK_QUIT);
        pthread_join(s->thread, NULL);
    }
    for (size_t i = 0; i < s->nsources; i++)
        XXH3_freeState(s->sources[i].digest);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s->sources);
    state_keep_clear(&s->kept);
    free(s->chunk);
    free(s);
    return NULL;
}

int state_stream_new(struct state_stream **ret, struct channel *channel, bool checksum,
                     const struct state_source *sources, size_t nsources, struct controller *vmm,
                     int cancel_fd, struct mig_error *err)
{
    _cleanup_(state_stream_freep) struct state_stream *s = calloc(1, sizeof *s);
    if (!s)
        return mig_error_oom(err);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    s->channel = channel;
    s->cancel_fd = cancel_fd;
    s->vmm = vmm;
    frame_stream_init(&s->frames, channel, checksum);
    s->frames.send_sequence = s->frames.recv_sequence = 1; /* HELLO was 0 */
    s->chunk = malloc(CHUNK_BYTES);
    s->sources = calloc(nsources ? nsources : 1, sizeof *s->sources);
    if (!s->chunk || !s->sources)
        return mig_error_oom(err);
    for (; s->nsources < nsources; s->nsources++) {
        struct source *src = &s->sources[s->nsources];
        src->source = sources[s->nsources];
        src->digest = XXH3_createState();
        if (!src->digest)
            return mig_error_oom(err);
        XXH3_64bits_reset(src->digest);
    }
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        return mig_error_oom(err);
    s->has_thread = true;
    *ret = TAKE_PTR(s);
    return 0;
}

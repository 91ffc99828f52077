/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/greeting.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "base/printable.h"
#include "loop/loop.h"
#include "migration/dialogue.h"
#include "migration/record.h"
#include "transport/security.h"
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define STACK_BYTES  (256u * 1024)
#define PARTING_USEC USEC_PER_SEC

struct greeting {
    struct greeter *greeter;
    struct channel *channel;
    struct admission_place place;
    struct frame_stream stream;
    struct json_object *hello;
};

static void greeting_free(struct greeting *g)
{
    admission_leave(&g->greeter->admission, &g->place);
    channel_free(g->channel);
    json_object_put(g->hello);
    atomic_fetch_sub(&g->greeter->running, 1);
    free(g);
}

bool greeting_token_equals(const char *a, const char *b)
{
    size_t n = strlen(a);
    if (n != strlen(b)) /* the length is no secret */
        return false;
    unsigned char differ = 0;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return !differ;
}

static const char *decision_word(const struct record *r)
{
    switch (r->state) {
    case RECORD_COMMITTED:
    case RECORD_ACTIVE:
        return "committed";
    case RECORD_ABORTED:
    case RECORD_RETURNED:
        return "aborted";
    default:
        return "pending";
    }
}

/* What was accepted and does not run yet may still be returned. */
static const char *outcome_word(const struct record *r)
{
    return r->state == RECORD_ACTIVE ? "active" : r->state == RECORD_RETURNED ? "returned" : "pending";
}

bool greeting_answer(const struct greeter *greeter, struct frame_stream *stream, struct json_object *hello)
{
    const char *id, *token;
    bool query = json_get_string(hello, "query", &id) == 0;
    if (!query && json_get_string(hello, "outcome", &id) < 0)
        return false;
    struct record r;
    struct mig_error err = MIG_ERROR_INIT;
    int found = record_read(greeter->runtime_dir, id, !query, &r);
    if (found < 0 || json_get_string(hello, "token", &token) < 0 || !greeting_token_equals(r.token, token)) {
        mig_error_set(&err, MIG_ERR_NO_SUCH_MIGRATION, 0, "There is no record of migration %.32s here", id);
        make_printable(err.message);
        dialogue_refuse(stream, &err);
        return true;
    }
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    const char *word = query ? decision_word(&r) : outcome_word(&r);
    log_info("migration %s: %s asks, the answer is %s", r.id, stream->channel->peer, word);
    if (o && json_add_string(o, query ? "decision" : "outcome", word) == 0)
        frame_send_json(stream, WIRE_HELLO, o, NULL);
    return true;
}

static void hand_over(void *userdata)
{
    struct greeting *g = userdata;
    g->channel->cancel_fd = -1;
    g->channel->deadline_usec = 0;
    g->channel->stall_timeout_usec = CHANNEL_STALL_TIMEOUT_USEC;
    g->greeter->greeted(g->greeter->userdata, TAKE_PTR(g->channel), g->stream, TAKE_PTR(g->hello));
    greeting_free(g);
}

/* What is closed with bytes unread is reset, and the peer may lose what was said to it last: they are thrown
 * away until it closes, for a moment. */
static void part_in_peace(struct channel *c)
{
    char buf[4096];
    uint64_t deadline = deadline_in(PARTING_USEC);
    shutdown(c->fd, SHUT_WR);
    while (fd_wait(c->fd, POLLIN, c->cancel_fd, deadline) > 0 &&
           recv(c->fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
        ;
}

/* Told in plain text to a peer that cannot be told otherwise; but nothing of this host's files. */
static void refuse_plainly(struct frame_stream *stream, int r, const struct mig_error *why)
{
    struct mig_error told = *why;
    if (r == -ENOKEY) {
        mig_error_set(&told, MIG_ERR_PEER_REFUSED, 0, "this host has no certificate that it could show");
        mig_error_hint(&told, "the log of migd there says why");
    }
    dialogue_refuse(stream, &told);
    part_in_peace(stream->channel);
}

static int secure(const struct greeter *greeter, struct frame_stream *stream, struct mig_error *err)
{
    int r = security_accept(greeter->security, &stream->channel, err);
    if (r == -EPROTONOSUPPORT || r == -ENOKEY)
        refuse_plainly(stream, r, err);
    else if (r < 0)
        part_in_peace(stream->channel);
    return r;
}

int greeting_hear(const struct greeter *greeter, struct frame_stream *stream, struct json_object **ret,
                  struct mig_error *err)
{
    struct wire_header h;
    int r = secure(greeter, stream, err);
    if (r == 0)
        r = frame_recv(stream, &h, err);
    if (r == 0 && h.type != WIRE_HELLO)
        r = mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "the first frame is of type %u, not HELLO", h.type);
    return r < 0 ? r : frame_recv_json(stream, &h, ret, err);
}

static void *greet(void *userdata)
{
    struct greeting *g = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    int r = greeting_hear(g->greeter, &g->stream, &g->hello, &err);
    g->channel = g->stream.channel;
    /* Who has said HELLO is a guest, and not ended for another any more. */
    if (admission_leave(&g->greeter->admission, &g->place)) {
        log_info("Connection from %s ended: it had said nothing yet, and others want its place",
                 g->channel->peer);
        greeting_free(g);
        return NULL;
    }
    if (r < 0) {
        if (r != -EPIPE) {
            make_printable(err.message);
            const struct log_fields fields = {.message = MESSAGE_PEER_REFUSED,
                                              .peer = g->channel->peer,
                                              .error =
                                                  mig_error_is_set(&err) ? mig_error_word(err.code) : NULL,
                                              .reason = mig_error_is_set(&err) ? err.message : strerror(-r)};
            log_write(LOG_INFO, &fields, "Connection from %s refused: %s%s%s%s", g->channel->peer,
                      mig_error_is_set(&err) ? err.message : strerror(-r), err.hint[0] ? " (" : "", err.hint,
                      err.hint[0] ? ")" : "");
        }
        greeting_free(g);
        return NULL;
    }
    if (greeting_answer(g->greeter, &g->stream, g->hello) || loop_post(g->greeter->loop, hand_over, g) < 0)
        greeting_free(g);
    return NULL;
}

static int start_thread(void *(*run)(void *), void *userdata)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_t thread;
    int r = -pthread_create(&thread, &attr, run, userdata);
    pthread_attr_destroy(&attr);
    return r;
}

static int count_one(struct greeter *greeter)
{
    if (atomic_fetch_add(&greeter->running, 1) < GREETING_THREADS_MAX)
        return 0;
    atomic_fetch_sub(&greeter->running, 1);
    return -EBUSY;
}

struct errand {
    struct greeter *greeter;
    void (*run)(void *userdata);
    void *userdata;
};

static void *run_errand(void *userdata)
{
    struct errand e = *(struct errand *)userdata;
    free(userdata);
    e.run(e.userdata);
    atomic_fetch_sub(&e.greeter->running, 1);
    return NULL;
}

int greeter_run(struct greeter *greeter, void (*run)(void *userdata), void *userdata)
{
    int r = count_one(greeter);
    if (r < 0)
        return r;
    struct errand *e = malloc(sizeof *e);
    if (e)
        *e = (struct errand){greeter, run, userdata};
    r = e ? start_thread(run_errand, e) : -ENOMEM;
    if (r < 0) {
        free(e);
        atomic_fetch_sub(&greeter->running, 1);
    }
    return r;
}

int greeter_take(struct greeter *greeter, int fd, const char *peer)
{
    int r = count_one(greeter);
    if (r < 0) {
        close(fd);
        return r;
    }
    struct greeting *g = calloc(1, sizeof *g);
    if (!g) {
        atomic_fetch_sub(&greeter->running, 1);
        close(fd);
        return -ENOMEM;
    }
    g->greeter = greeter;
    r = channel_from_socket(&g->channel, fd, peer, greeter->cancel_fd);
    if (r < 0) {
        greeting_free(g);
        return r;
    }
    g->channel->stall_timeout_usec = GREETING_TIMEOUT_USEC;
    g->channel->deadline_usec =
        deadline_in(GREETING_TIMEOUT_USEC); /* also for who sends a byte now and then */
    frame_stream_init(&g->stream, g->channel, true);
    admission_enter(&greeter->admission, &g->place, peer, g->channel->fd);
    r = start_thread(greet, g);
    if (r < 0)
        greeting_free(g);
    return r;
}

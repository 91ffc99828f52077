/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/dialogue.h"
#include "base/clock.h"
#include "base/printable.h"
#include "transport/security.h"
#include <stdio.h>
#include <string.h>

#define ANSWER_TIMEOUT_USEC (10 * USEC_PER_SEC)

int dialogue_send(struct frame_stream *s, const char *name, struct json_object *extra, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = extra ? extra : json_object_new_object();
    if (!o || json_add_string(o, "message", name) < 0)
        return mig_error_oom(err);
    return frame_send_json(s, WIRE_MESSAGE, o, err);
}

static struct json_object *error_object(const struct mig_error *why)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_string(o, "error", mig_error_word(why->code)) < 0 ||
        json_add_string(o, "text", why->message) < 0 || json_add_string(o, "hint", why->hint) < 0)
        return NULL;
    return TAKE_PTR(o);
}

void dialogue_abort(struct frame_stream *s, const struct mig_error *why)
{
    uint64_t timeout = s->channel->stall_timeout_usec;
    s->channel->stall_timeout_usec = 200 * USEC_PER_MSEC;
    struct json_object *o = error_object(why);
    if (o)
        dialogue_send(s, "abort", o, NULL);
    s->channel->stall_timeout_usec = timeout;
}

void dialogue_refuse(struct frame_stream *s, const struct mig_error *why)
{
    _cleanup_(json_object_putp) struct json_object *o = error_object(why);
    if (o)
        frame_send_json(s, WIRE_HELLO, o, NULL);
}

int dialogue_peer_error(struct json_object *o, const char *who, struct mig_error *err)
{
    const char *word = NULL, *text = "no reason given", *hint = "";
    json_get_string(o, "error", &word);
    json_get_string(o, "text", &text);
    json_get_string(o, "hint", &hint);
    int r = mig_error_set(err, mig_error_from_word(word), 0, "%s: %s", who, text);
    mig_error_hint(err, "%s", hint);
    if (err) {
        make_printable(err->message);
        make_printable(err->hint);
    }
    return r;
}

/* Waits for the first byte only; the rest of a frame is under the channel's stall timeout. */
static int wait_readable(struct frame_stream *s, uint64_t timeout_usec, const char *what,
                         struct mig_error *err)
{
    int r = s->channel->ops->wait_readable(s->channel, timeout_usec);
    if (r == -ETIMEDOUT)
        return mig_error_set(err, MIG_ERR_PEER_TIMEOUT, 0, "%s did not come from %s within %llu s", what,
                             s->channel->peer, (unsigned long long)(timeout_usec / USEC_PER_SEC));
    if (r == -ECANCELED)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0, "Cancelled while waiting for %s", what);
    return r < 0 ? mig_error_set(err, MIG_ERR_PEER_LOST, -r, "Waiting for %s from %s: %s", what,
                                 s->channel->peer, strerror(-r))
                 : 0;
}

static int receive_header(struct frame_stream *s, uint64_t timeout_usec, const char *what,
                          struct wire_header *h, struct mig_error *err)
{
    int r = wait_readable(s, timeout_usec, what, err);
    if (r < 0)
        return r;
    struct mig_error inner = MIG_ERROR_INIT;
    r = frame_recv(s, h, &inner);
    if (r == 0)
        return 0;
    if (mig_error_is_set(&inner) && inner.code != MIG_ERR_PEER_LOST) {
        if (err)
            *err = inner;
        return r;
    }
    return mig_error_set(err, r == -ECANCELED ? MIG_ERR_CANCELLED : MIG_ERR_PEER_LOST, -r,
                         "The connection to %s broke while waiting for %s%s%s", s->channel->peer, what,
                         r == -EPIPE ? "" : ": ", r == -EPIPE ? "" : strerror(-r));
}

int dialogue_receive(struct frame_stream *s, const struct dialogue_expect *expect, int *ret_name,
                     struct json_object **ret, struct wire_header *ret_header, struct mig_error *err)
{
    struct wire_header h;
    int r = receive_header(s, expect->timeout_usec, expect->what, &h, err);
    if (r < 0)
        return r;
    if (h.type != WIRE_MESSAGE) {
        if (!(expect->frame_types & 1u << h.type))
            return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s sent a frame of type %u where %s was due",
                                 s->channel->peer, h.type, expect->what);
        *ret_name = -1;
        *ret_header = h;
        return 0;
    }
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    r = frame_recv_json(s, &h, &o, err);
    if (r < 0)
        return r;
    const char *name;
    if (json_get_string(o, "message", &name) < 0)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s sent a message without a name",
                             s->channel->peer);
    if (strcmp(name, "abort") == 0) {
        dialogue_peer_error(o, "The peer gave up", err);
        return -ECONNABORTED;
    }
    for (int i = 0; expect->names && expect->names[i]; i++) {
        if (strcmp(expect->names[i], name) == 0) {
            *ret_name = i;
            *ret = TAKE_PTR(o);
            return 0;
        }
    }
    r = mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s sent the message \"%.40s\" where %s was due",
                      s->channel->peer, name, expect->what);
    if (err)
        make_printable(err->message);
    return r;
}

int dialogue_hello_raw(struct frame_stream *s, struct json_object *hello, struct json_object **ret_answer,
                       struct mig_error *err)
{
    int r = frame_send_json(s, WIRE_HELLO, hello, err);
    if (r < 0)
        return r;
    struct wire_header h;
    r = receive_header(s, ANSWER_TIMEOUT_USEC, "the answer to HELLO", &h, err);
    if (r < 0)
        return r;
    if (h.type != WIRE_HELLO)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s answered HELLO with a frame of type %u",
                             s->channel->peer, h.type);
    return frame_recv_json(s, &h, ret_answer, err);
}

int dialogue_hello(struct frame_stream *s, struct json_object *hello, struct json_object **ret_answer,
                   struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    int r = dialogue_hello_raw(s, hello, &o, err);
    if (r < 0)
        return r;
    if (json_object_object_get_ex(o, "error", NULL))
        return dialogue_peer_error(o, "The peer refused", err);
    *ret_answer = TAKE_PTR(o);
    return 0;
}

int dialogue_ask(struct security *security, const char *address, const char *peer_name, const char *kind,
                 const char *id, const char *token, int cancel_fd, char *ret_word, size_t size,
                 struct mig_error *err)
{
    _cleanup_(channel_freep) struct channel *c = NULL;
    int r = security_connect(security, &c, address, peer_name, 5 * USEC_PER_SEC, cancel_fd, err);
    if (r < 0)
        return r;
    struct frame_stream s;
    frame_stream_init(&s, c, false);
    _cleanup_(json_object_putp) struct json_object *hello = json_object_new_object(), *answer = NULL;
    if (!hello || json_add_string(hello, kind, id) < 0 || json_add_string(hello, "token", token) < 0)
        return mig_error_oom(err);
    r = dialogue_hello(&s, hello, &answer, err);
    if (r < 0)
        return r;
    if (json_copy_string(answer, strcmp(kind, "query") == 0 ? "decision" : "outcome", ret_word, size) < 0)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s did not answer the question for migration %s",
                             address, id);
    return 0;
}

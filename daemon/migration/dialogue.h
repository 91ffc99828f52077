/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words of the control connection (include/migd-wire.h shows the whole dialogue): named JSON messages,
 * answers to HELLO, and the short conversations of peers that ask for a decision or an outcome. Blocking, for
 * workers and greeting threads. A peer's ABORT comes out of dialogue_receive as an error with the peer's own
 * words.
 */
#pragma once
#include "base/clock.h"
#include "base/json.h"
#include "transport/frame.h"

#define DIALOGUE_PROTOCOL        1
#define DIALOGUE_PROTOCOL_OLDEST 1

/* When a connection broke, the source waits so long for the destination's reason on control before it says
 * its own; the destination waits longer than that for a source that gives up, or both would only wait. */
#define DIALOGUE_REASON_USEC    (500 * USEC_PER_MSEC)
#define DIALOGUE_LAST_WORD_USEC (2 * DIALOGUE_REASON_USEC)

/* {"message": name} with what `extra` holds besides (taken over; may be NULL). */
int dialogue_send(struct frame_stream *s, const char *name, struct json_object *extra, struct mig_error *err);
/* Best effort: what went wrong here, in words. Does not wait long. */
void dialogue_abort(struct frame_stream *s, const struct mig_error *why);

/* The next frame within timeout. A peer's ABORT is -ECONNABORTED whatever its words in err are: the one error
 * that says for certain what the peer decided. For a MESSAGE *ret_name is one of the names of `names`
 * (NULL-terminated) as an index and *ret the object; for any other frame type that is in frame_types (bit
 * mask 1 << type) *ret_header is filled, *ret_name -1, and the payload waits. Everything else is a protocol
 * error. */
struct dialogue_expect {
    const char *const *names;
    uint32_t frame_types;
    uint64_t timeout_usec; /* for the first byte */
    const char *what;      /* what is waited for, for messages: "the answer PREPARED" */
};
int dialogue_receive(struct frame_stream *s, const struct dialogue_expect *expect, int *ret_name,
                     struct json_object **ret, struct wire_header *ret_header, struct mig_error *err);

/* Sends HELLO `hello` (borrowed) and takes the answer; an answer with "error" becomes err. */
int dialogue_hello(struct frame_stream *s, struct json_object *hello, struct json_object **ret_answer,
                   struct mig_error *err);
/* The same, whatever the answer says. PeerLost or PeerTimeout when there is none, PeerProtocol when it is not
 * one. */
int dialogue_hello_raw(struct frame_stream *s, struct json_object *hello, struct json_object **ret_answer,
                       struct mig_error *err);
/* The other side: an answer that refuses. */
void dialogue_refuse(struct frame_stream *s, const struct mig_error *why);
/* Fills err from {"error", "message"/"text", "hint"} that a peer sent; "The destination says: ...", made
 * printable. Returns -errno. */
int dialogue_peer_error(struct json_object *o, const char *who, struct mig_error *err);

/* One question on a connection of its own: {"query": id} or {"outcome": id}; the answer's word is copied. Who
 * answers must be the host in the address, or have the name peer_name ("": none). */
struct security;
int dialogue_ask(struct security *security, const char *address, const char *peer_name, const char *kind,
                 const char *id, const char *token, int cancel_fd, char *ret_word, size_t size,
                 struct mig_error *err);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/fetch.h"
#include "base/clock.h"
#include "base/log.h"
#include "libvirt/native-peers.h"
#include "migration/dialogue.h"
#include "transport/security.h"
#include <string.h>

#define CONNECT_TIMEOUT_USEC (3 * USEC_PER_SEC)
#define WORD_TIMEOUT_USEC    USEC_PER_SEC /* of a message whose first byte is there */

struct fetch {
    struct channel *channel;
    struct frame_stream stream;
    enum arrival_word word;
};

struct fetch *fetch_free(struct fetch *f)
{
    if (!f)
        return NULL;
    channel_free(f->channel);
    free(f);
    return NULL;
}

/* *ret and *answer are the caller's, also on failure. hello is taken over. */
static int ask(struct fetch **ret, struct security *security, const char *peer, struct json_object *hello,
               uint64_t timeout_usec, int cancel_fd, struct json_object **answer, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = hello;
    struct fetch *f = *ret = calloc(1, sizeof *f);
    if (!f || !o)
        return mig_error_oom(err);
    int r = security_connect(security, &f->channel, peer, NULL, timeout_usec, cancel_fd, err);
    if (r < 0)
        return r;
    frame_stream_init(&f->stream, f->channel, true);
    r = dialogue_hello(&f->stream, o, answer, err);
    if (r < 0 && err->code == MIG_ERR_PEER_PROTOCOL)
        mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "migd at %s does not know the question", peer);
    return r;
}

static struct json_object *question(const struct fetch_request *q)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_string(o, "fetch", q->uuid) < 0 || json_add_string(o, "domain", q->name) < 0)
        return NULL;
    return TAKE_PTR(o);
}

static enum fetch_answer ask_one(struct fetch **ret, const struct fetch_request *q, const char *peer,
                                 uint64_t timeout_usec, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *answer = NULL;
    _cleanup_(fetch_freep) struct fetch *f = NULL;
    const char *word = "";
    if (ask(&f, q->security, peer, question(q), timeout_usec, q->cancel_fd, &answer, err) < 0)
        return FETCH_NOBODY;
    json_get_string(answer, "fetch", &word);
    if (strcmp(word, "begun") == 0 || strcmp(word, "on-its-way") == 0) {
        *ret = TAKE_PTR(f);
        return FETCH_COMES;
    }
    mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s answers with words that it should not know", peer);
    return FETCH_NOBODY;
}

/* Which reason is the one to tell: that of the host that has the guest, then that of one which cannot say. */
static int weight(const struct mig_error *e)
{
    switch (e->code) {
    case MIG_ERR_NONE:
        return 0;
    case MIG_ERR_NO_SUCH_DOMAIN:
        return 1;
    case MIG_ERR_PEER_UNREACHABLE:
    case MIG_ERR_PEER_LOST:
    case MIG_ERR_PEER_TIMEOUT:
    case MIG_ERR_PEER_UNTRUSTED:
        return 2;
    default:
        return 3;
    }
}

enum fetch_answer fetch_ask(struct fetch **ret, const struct fetch_request *q, struct mig_error *why)
{
    uint64_t until_usec = deadline_in(q->timeout_usec);
    char peer[NATIVE_PEERS_MAX];
    for (size_t i = 0; native_peers_nth(q->peers, i, peer); i++) {
        struct mig_error e = MIG_ERROR_INIT;
        uint64_t now = now_usec();
        if (now >= until_usec) {
            mig_error_set(why, MIG_ERR_PEER_TIMEOUT, 0, "not all hosts of NativePeers answered in time");
            break;
        }
        enum fetch_answer answer = ask_one(ret, q, peer, MIN(until_usec - now, CONNECT_TIMEOUT_USEC), &e);
        if (answer != FETCH_NOBODY) {
            log_write(LOG_INFO, &(struct log_fields){.domain = q->name, .peer = peer},
                      "%s moves the memory of %s", peer, q->name);
            return answer;
        }
        log_write(LOG_DEBUG, &(struct log_fields){.domain = q->name, .peer = peer}, "%s: %s", peer,
                  e.message);
        if (weight(&e) > weight(why))
            *why = e;
    }
    return FETCH_NOBODY;
}

static enum arrival_word read_word(struct fetch *f)
{
    static const char *const names[] = {"fetch-end", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = WORD_TIMEOUT_USEC, .what = "the end of the migration"};
    _cleanup_(json_object_putp) struct json_object *o = NULL;
    struct wire_header h;
    int name;
    f->channel->stall_timeout_usec = WORD_TIMEOUT_USEC;
    if (dialogue_receive(&f->stream, &expect, &name, &o, &h, NULL) < 0)
        return ARRIVAL_WORD_GONE;
    return json_bool_or(o, "whole", false) ? ARRIVAL_WORD_WHOLE : ARRIVAL_WORD_STAYS;
}

enum arrival_word fetch_hear(struct fetch *f)
{
    if (f->word == ARRIVAL_WORD_NONE) {
        int r = f->channel->ops->wait_readable(f->channel, 0);
        if (r != -ETIMEDOUT && r != -ECANCELED)
            f->word = read_word(f);
    }
    return f->word;
}

/* uuid NULL: it is only asked. */
static int ask_receives(struct security *security, const char *destination, const char *uuid, bool comes,
                        int cancel_fd, struct mig_error *why)
{
    _cleanup_(json_object_putp) struct json_object *answer = NULL, *hello = json_object_new_object();
    _cleanup_(fetch_freep) struct fetch *f = NULL;
    if (!hello || json_add_bool(hello, "receives", true) < 0 ||
        (uuid && (json_add_string(hello, "guest", uuid) < 0 || json_add_bool(hello, "comes", comes) < 0)))
        return mig_error_oom(why);
    return ask(&f, security, destination, TAKE_PTR(hello), CONNECT_TIMEOUT_USEC, cancel_fd, &answer, why);
}

int fetch_ask_receives(struct security *security, const char *destination, int cancel_fd,
                       struct mig_error *why)
{
    return ask_receives(security, destination, NULL, false, cancel_fd, why);
}

int fetch_announce(struct security *security, const char *destination, const char *uuid, bool comes,
                   int cancel_fd, struct mig_error *why)
{
    return ask_receives(security, destination, uuid, comes, cancel_fd, why);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The beginning of an outgoing migration: the control connection with HELLO, then the page and state
 * connections that attach to it. What HELLO says of regions and devices is what the destination checks
 * everything later against.
 */
#include "base/clock.h"
#include "outgoing/hello.h"
#include "outgoing/job.h"
#include "transport/security.h"
#include <stdio.h>
#include <string.h>

#define ANSWER_MIN_USEC (5 * USEC_PER_SEC) /* of a destination that was reached; it may be busy */

#define CONNECT_TIMEOUT_USEC (10 * USEC_PER_SEC)
/* A network that has acknowledged nothing for so long is taken for broken: as long as a few retransmissions.
 */
#define SILENCE_USEC (2 * USEC_PER_SEC)

static struct json_object *make_hello(struct job *j, size_t connections, size_t limit)
{
    _cleanup_(json_object_putp) struct json_object *o = hello_new(j->domain, &j->options, connections);
    if (!o || json_add_string(o, "migration", migration_id(j->migration)) < 0 ||
        json_add_string(o, "token", j->token) < 0 ||
        json_add_string(o, "decision-address", j->decision_address) < 0 ||
        json_add_bool(o, "heartbeat", true) < 0 ||
        (limit > connections && json_add_u64(o, "connections-limit", limit) < 0) ||
        json_add_u64(o, "reconnect-timeout", j->options.reconnect_usec) < 0)
        return NULL;
    return TAKE_PTR(o);
}

int job_attach(struct job *j, const struct attachment *a, struct channel **ret, struct mig_error *err)
{
    _cleanup_(channel_freep) struct channel *c = NULL;
    int r = security_connect_again(j->security, &c, j->destination, &j->place, a->timeout_usec, j->cancel_fd,
                                   err);
    if (r < 0)
        return r;
    struct frame_stream s;
    frame_stream_init(&s, c, false);
    _cleanup_(json_object_putp) struct json_object *hello = json_object_new_object(), *answer = NULL;
    if (!hello || json_add_string(hello, "attach", migration_id(j->migration)) < 0 ||
        json_add_string(hello, "token", j->token) < 0 || json_add_string(hello, "role", a->role) < 0 ||
        json_add_u64(hello, "index", a->index) < 0 || (*a->key && json_add_string(hello, "key", a->key) < 0))
        return mig_error_oom(err);
    uint64_t asked_usec = now_usec();
    c->deadline_usec = deadline_in(MAX(a->timeout_usec, ANSWER_MIN_USEC));
    r = dialogue_hello(&s, hello, &answer, err);
    if (r < 0)
        return mig_error_wrap(err, "Opening the %s connection %zu", a->role, a->index);
    c->deadline_usec = 0;
    c->renewable = j->resume_key[0];
    j->answer_usec = MIN(j->answer_usec, now_usec() - asked_usec);
    *ret = TAKE_PTR(c);
    return 0;
}

/* What the destination unpacks; a word that this side does not know is a codec for a newer one. */
static int read_codecs(struct job *j, struct json_object *answer, struct mig_error *err)
{
    struct json_object *list = NULL;
    json_object_object_get_ex(answer, "codecs", &list);
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    for (size_t i = 0; i < n; i++) {
        const char *word = json_object_get_string(json_object_array_get_idx(list, i));
        enum codec c;
        if (word && codec_from_string(word, &c) == 0)
            j->codecs[c] = true;
    }
    enum compression wanted = j->options.compression;
    if ((wanted == COMPRESSION_LZ4 && !j->codecs[CODEC_LZ4]) ||
        (wanted == COMPRESSION_ZSTD && !j->codecs[CODEC_ZSTD])) {
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "The migd at %s cannot unpack %s",
                              j->destination, compression_to_string(wanted));
        mig_error_hint(err,
                       "use --compression adaptive, which takes what both sides know, or update migd there");
        return r;
    }
    return 0;
}

int job_handshake(struct job *j, struct mig_error *err)
{
    int r = security_connect_again(j->security, &j->control, j->destination, &j->place, CONNECT_TIMEOUT_USEC,
                                   j->cancel_fd, err);
    if (r < 0)
        return r;
    frame_stream_init(&j->control_stream, j->control, true);
    size_t limit = j->options.connections ? j->options.connections : MAX(j->options.max_connections, 1u);
    size_t connections = j->options.connections ? limit : MIN(limit, GROWTH_FIRST);
    if (limit > WIRE_CONNECTIONS_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                             "%zu connections are more than the limit of %u", limit, WIRE_CONNECTIONS_MAX);
    _cleanup_(json_object_putp) struct json_object *hello = make_hello(j, connections, limit), *answer = NULL;
    if (!hello)
        return mig_error_oom(err);
    r = dialogue_hello(&j->control_stream, hello, &answer, err);
    if (r < 0)
        return r;
    uint64_t protocol, granted;
    if (json_get_u64(answer, "protocol", &protocol) < 0 || protocol < DIALOGUE_PROTOCOL_OLDEST ||
        protocol > DIALOGUE_PROTOCOL || json_get_u64(answer, "connections", &granted) < 0 || granted < 1 ||
        granted > connections)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                             "%s answered HELLO with values that were not offered", j->destination);
    r = read_codecs(j, answer, err);
    if (r < 0)
        return r;
    if (json_copy_string(answer, "resume-key", j->resume_key, sizeof j->resume_key) < 0)
        j->resume_key[0] = '\0'; /* it does not know that, or this side does not want it */
    if (json_get_bool(answer, "heartbeat", &j->heartbeat) < 0)
        j->heartbeat = false;
    j->granted = granted;
    uint64_t more;
    if (limit > connections && json_get_u64(answer, "connections-limit", &more) == 0) {
        if (more < granted || more > limit)
            return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0,
                                 "%s answered HELLO with values that were not offered", j->destination);
        j->grows = more > granted;
        j->granted = more;
    }
    j->answer_usec = UINT64_MAX;
    for (; j->npage_channels < granted; j->npage_channels++) {
        const struct attachment pages = {"pages", "", j->npage_channels, CONNECT_TIMEOUT_USEC};
        r = job_attach(j, &pages, &j->page_channels[j->npage_channels], err);
        if (r < 0)
            return r;
    }
    const struct attachment state = {"state", "", 0, CONNECT_TIMEOUT_USEC};
    r = job_attach(j, &state, &j->state_channel, err);
    return r < 0 ? r : job_watch_link(j, err);
}

int job_watch_link(struct job *j, struct mig_error *err)
{
    struct channel *all[WIRE_CONNECTIONS_MAX + 2] = {j->control, j->state_channel};
    memcpy(all + 2, j->page_channels, j->npage_channels * sizeof(struct channel *));
    int r = link_watch_new(&j->watch, all, j->npage_channels + 2, SILENCE_USEC);
    return r < 0 ? mig_error_set(err, MIG_ERR_FAILED, -r, "Cannot watch the connections: %s", strerror(-r))
                 : 0;
}

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

#define CONNECT_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define DEFAULT_CONNECTIONS  2

static struct json_object *make_hello(struct job *j, size_t connections)
{
    _cleanup_(json_object_putp) struct json_object *o = hello_new(j->domain, &j->options, connections);
    if (!o || json_add_string(o, "migration", migration_id(j->migration)) < 0 ||
        json_add_string(o, "token", j->token) < 0 ||
        json_add_string(o, "decision-address", j->decision_address) < 0)
        return NULL;
    return TAKE_PTR(o);
}

static int attach(struct job *j, const char *role, size_t index, struct channel **ret, struct mig_error *err)
{
    _cleanup_(channel_freep) struct channel *c = NULL;
    int r = security_connect(j->security, &c, j->destination, NULL, CONNECT_TIMEOUT_USEC, j->cancel_fd, err);
    if (r < 0)
        return r;
    struct frame_stream s;
    frame_stream_init(&s, c, false);
    _cleanup_(json_object_putp) struct json_object *hello = json_object_new_object(), *answer = NULL;
    if (!hello || json_add_string(hello, "attach", migration_id(j->migration)) < 0 ||
        json_add_string(hello, "token", j->token) < 0 || json_add_string(hello, "role", role) < 0 ||
        json_add_u64(hello, "index", index) < 0)
        return mig_error_oom(err);
    uint64_t asked_usec = now_usec();
    r = dialogue_hello(&s, hello, &answer, err);
    if (r < 0)
        return mig_error_wrap(err, "Opening the %s connection %zu", role, index);
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
    int r = security_connect(j->security, &j->control, j->destination, NULL, CONNECT_TIMEOUT_USEC,
                             j->cancel_fd, err);
    if (r < 0)
        return r;
    frame_stream_init(&j->control_stream, j->control, true);
    size_t connections =
        j->options.connections ? MIN(j->options.connections, WIRE_CONNECTIONS_MAX) : DEFAULT_CONNECTIONS;
    _cleanup_(json_object_putp) struct json_object *hello = make_hello(j, connections), *answer = NULL;
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
    j->answer_usec = UINT64_MAX;
    for (; j->npage_channels < granted; j->npage_channels++) {
        r = attach(j, "pages", j->npage_channels, &j->page_channels[j->npage_channels], err);
        if (r < 0)
            return r;
    }
    return attach(j, "state", 0, &j->state_channel, err);
}

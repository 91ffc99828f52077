/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making and checking frames. Nothing of a header is believed before its magic, version and checksum are
 * right, and no caller sees a header whose length or count is beyond the limits of its type. What a range
 * means (which region, does it lie inside) is for the caller, who knows the regions.
 */
#include "transport/frame.h"
#include "base/json.h"
#include <endian.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define JSON_DEPTH_MAX  16
#define PIECES_PER_CALL 160

static const char *const type_names[] = {
    [WIRE_HELLO] = "HELLO",         [WIRE_MESSAGE] = "MESSAGE", [WIRE_PAGES] = "PAGES",
    [WIRE_ZERO] = "ZERO",           [WIRE_FENCE] = "FENCE",     [WIRE_STATE] = "STATE",
    [WIRE_STATE_END] = "STATE_END", [WIRE_DIGESTS] = "DIGESTS", [WIRE_PACKED] = "PACKED",
    [WIRE_APPLIED] = "APPLIED",     [WIRE_PROBE] = "PROBE",
};

const char *frame_type_name(unsigned type)
{
    return type < ELEMENTS(type_names) && type_names[type] ? type_names[type] : "an unknown frame";
}

int frame_protocol_error(const struct frame_stream *s, struct mig_error *err, const char *format, ...)
{
    char what[300];
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    int r = mig_error_set(err, MIG_ERR_PEER_PROTOCOL, EPROTO, "%s broke the protocol: %s", s->channel->peer,
                          what);
    mig_error_hint(err, "check that it is a migd that talks there, and its version; with --checksum a link "
                        "that damages data is told apart");
    return r;
}

void frame_stream_init(struct frame_stream *s, struct channel *channel, bool checksum)
{
    *s = (struct frame_stream){.channel = channel, .checksum = checksum};
}

/* ---- header ---- */

/* Between the host's order and the wire's; its own inverse. */
static void swap_header(struct wire_header *h)
{
    h->magic = htole32(h->magic);
    h->flags = htole16(h->flags);
    h->region = htole32(h->region);
    h->count = htole32(h->count);
    h->offset = htole64(h->offset);
    h->length = htole64(h->length);
    h->sequence = htole64(h->sequence);
    h->payload_checksum = htole64(h->payload_checksum);
    h->round = htole32(h->round);
    h->reserved = htole32(h->reserved);
    h->header_checksum = htole64(h->header_checksum);
}

static uint64_t header_digest(const struct wire_header *wire)
{
    return XXH3_64bits(wire, offsetof(struct wire_header, header_checksum));
}

/* What is wrong with the sizes of a header, or NULL. */
static const char *check_sizes(const struct wire_header *h)
{
    const uint64_t page = 4096, table = (uint64_t)h->count * sizeof(struct wire_extent);
    if (h->count > WIRE_EXTENTS_MAX)
        return "too many extents";
    if (h->count > 0 && h->type != WIRE_PAGES && h->type != WIRE_ZERO && h->type != WIRE_PACKED)
        return "extents in a frame that has none";
    switch (h->type) {
    case WIRE_HELLO:
    case WIRE_MESSAGE:
        return h->length == 0 || h->length > WIRE_JSON_MAX_BYTES ? "a text that is empty or too long" : NULL;
    case WIRE_PAGES:
        if (h->length > WIRE_PAYLOAD_MAX_BYTES || h->length <= table || (h->length - table) % page)
            return "a length that no whole pages fit";
        return h->count == 0 && h->offset % page ? "an offset inside a page" : NULL;
    case WIRE_ZERO:
        if (h->length != table)
            return "a length that is not that of its table";
        if (h->count > 0)
            return NULL;
        if (h->offset % page || h->payload_checksum % page || h->payload_checksum == 0)
            return "a range that is no whole pages";
        return h->flags & WIRE_FLAG_CHECKSUM ? "the checksum of a payload that is not there" : NULL;
    case WIRE_PACKED:
        if (h->count == 0)
            return "no extents";
        return h->length > WIRE_PACKED_MAX_BYTES + table || h->length <= table ? "a length that nothing fits"
                                                                               : NULL;
    case WIRE_FENCE:
        return h->length ? "a payload in a fence" : NULL;
    case WIRE_APPLIED:
        return h->length ? "a payload in an acknowledgement" : NULL;
    case WIRE_STATE:
    case WIRE_PROBE:
        return h->length > WIRE_PAYLOAD_MAX_BYTES ? "a length beyond the limit" : NULL;
    case WIRE_STATE_END:
        return h->length != sizeof(uint64_t) ? "a length that is not that of a digest" : NULL;
    case WIRE_DIGESTS:
        if (h->length == 0 || h->length > WIRE_PAYLOAD_MAX_BYTES || h->length % sizeof(uint64_t))
            return "a length that no whole digests fit";
        return h->offset % page ? "an offset inside a page" : NULL;
    default:
        return "a type that version 1 does not know";
    }
}

int frame_send(struct frame_stream *s, struct wire_header *h, struct iovec *payload, int npayload)
{
    uint64_t given = 0;
    for (int i = 0; i < npayload; i++)
        given += payload[i].iov_len;
    h->magic = WIRE_MAGIC;
    h->version = WIRE_VERSION;
    h->reserved = 0;
    h->sequence = s->send_sequence;
    h->flags &= (uint16_t)~WIRE_FLAG_CHECKSUM;
    if (given > h->length || (s->checksum && given != h->length))
        return -EINVAL;
    if (s->checksum && h->length > 0) {
        XXH3_state_t state;
        XXH3_64bits_reset(&state);
        for (int i = 0; i < npayload; i++)
            XXH3_64bits_update(&state, payload[i].iov_base, payload[i].iov_len);
        h->payload_checksum = XXH3_64bits_digest(&state);
        h->flags |= WIRE_FLAG_CHECKSUM;
    }
    if (check_sizes(h))
        return -EINVAL;
    struct wire_header wire = *h;
    swap_header(&wire);
    wire.header_checksum = htole64(h->header_checksum = header_digest(&wire));
    s->send_sequence++;

    /* Header and the front of the payload in one call; the rest of a long list goes by itself. */
    struct iovec front[PIECES_PER_CALL] = {{.iov_base = &wire, .iov_len = sizeof wire}};
    int taken = MIN(npayload, (int)ELEMENTS(front) - 1);
    if (taken > 0)
        memcpy(front + 1, payload, (size_t)taken * sizeof *front);
    s->channel->send_more = taken < npayload || given < h->length;
    int r = s->channel->ops->sendv(s->channel, front, taken + 1);
    if (r < 0 || taken == npayload)
        return r;
    s->channel->send_more = given < h->length;
    return s->channel->ops->sendv(s->channel, payload + taken, npayload - taken);
}

static int recv_failed(const struct frame_stream *s, int r, struct mig_error *err)
{
    return channel_error(s->channel, r, err, "receiving");
}

int frame_recv(struct frame_stream *s, struct wire_header *ret, struct mig_error *err)
{
    struct wire_header h;
    struct iovec iov = {.iov_base = &h, .iov_len = sizeof h};
    int r = s->idle_timeout_usec ? s->channel->ops->wait_readable(s->channel, s->idle_timeout_usec) : 0;
    if (r == 0)
        r = s->channel->ops->recvv(s->channel, &iov, 1);
    if (r < 0)
        return recv_failed(s, r, err);
    uint64_t digest = header_digest(&h);
    swap_header(&h);
    if (h.magic != WIRE_MAGIC)
        return frame_protocol_error(s, err, "it does not begin its frame as migd does");
    if (h.version != WIRE_VERSION)
        return frame_protocol_error(s, err, "it speaks version %u of the wire, this migd speaks %u",
                                    h.version, WIRE_VERSION);
    if (h.header_checksum != digest)
        return frame_protocol_error(s, err, "the checksum of a header is wrong");
    if (h.sequence != s->recv_sequence)
        return frame_protocol_error(s, err, "frame %llu came where %llu was due",
                                    (unsigned long long)h.sequence, (unsigned long long)s->recv_sequence);
    if (h.reserved || (h.flags & ~WIRE_FLAG_CHECKSUM))
        return frame_protocol_error(s, err, "a header has bits set that mean nothing in version %u",
                                    WIRE_VERSION);
    const char *wrong = check_sizes(&h);
    if (wrong)
        return frame_protocol_error(s, err, "%s with %s (type %u, %u extents, %llu bytes)",
                                    frame_type_name(h.type), wrong, h.type, h.count,
                                    (unsigned long long)h.length);
    s->recv_sequence++;
    *ret = h;
    return 0;
}

/* ---- payload ---- */

void frame_payload_begin(struct frame_payload *p, const struct wire_header *h)
{
    p->left_bytes = h->length;
    p->check = h->flags & WIRE_FLAG_CHECKSUM;
    p->wanted = h->payload_checksum;
    if (p->check)
        XXH3_64bits_reset(&p->state);
}

/* Receives and digests a few pieces at a time, while they are in the cache; the channel eats the list that it
 * is given. */
static int recv_checked(struct frame_stream *s, struct frame_payload *p, const struct iovec *iov, int iovcnt)
{
    struct iovec some[PIECES_PER_CALL];
    for (int done = 0; done < iovcnt;) {
        int n = MIN(iovcnt - done, PIECES_PER_CALL);
        memcpy(some, iov + done, (size_t)n * sizeof *some);
        int r = s->channel->ops->recvv(s->channel, some, n);
        if (r < 0)
            return r;
        for (int i = 0; i < n; i++)
            XXH3_64bits_update(&p->state, iov[done + i].iov_base, iov[done + i].iov_len);
        done += n;
    }
    return 0;
}

int frame_payload_recv(struct frame_stream *s, struct frame_payload *p, struct iovec *iov, int iovcnt,
                       struct mig_error *err)
{
    uint64_t given = 0;
    for (int i = 0; i < iovcnt; i++)
        given += iov[i].iov_len;
    if (given > p->left_bytes)
        return mig_error_set(err, MIG_ERR_FAILED, EINVAL, "receiving: room for more than the frame holds");
    p->left_bytes -= given;
    int r = p->check ? recv_checked(s, p, iov, iovcnt) : s->channel->ops->recvv(s->channel, iov, iovcnt);
    /* The end of the stream is never in order inside a frame. */
    return r < 0 ? recv_failed(s, r == -EPIPE ? -ECONNRESET : r, err) : 0;
}

int frame_payload_end(struct frame_stream *s, struct frame_payload *p, struct mig_error *err)
{
    if (p->left_bytes)
        return mig_error_set(err, MIG_ERR_FAILED, EINVAL, "receiving: room for less than the frame holds");
    if (!p->check || XXH3_64bits_digest(&p->state) == p->wanted)
        return 0;
    int r = mig_error_set(err, MIG_ERR_PEER_PROTOCOL, EBADMSG, "the checksum of data from %s is wrong",
                          s->channel->peer);
    mig_error_hint(err, "something between the hosts damages data: check the network cards and their "
                        "offloads, then try again");
    return r;
}

int frame_recv_payload(struct frame_stream *s, const struct wire_header *h, struct iovec *iov, int iovcnt,
                       struct mig_error *err)
{
    struct frame_payload p;
    frame_payload_begin(&p, h);
    int r = frame_payload_recv(s, &p, iov, iovcnt, err);
    return r < 0 ? r : frame_payload_end(s, &p, err);
}

/* ---- JSON ---- */

int frame_send_json(struct frame_stream *s, enum wire_type type, struct json_object *object,
                    struct mig_error *err)
{
    const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
    if (!text)
        return mig_error_oom(err);
    size_t size = strlen(text);
    if (size > WIRE_JSON_MAX_BYTES)
        return mig_error_set(err, MIG_ERR_LIMIT, 0, "a %s of %zu bytes is beyond the limit of %u",
                             frame_type_name(type), size, WIRE_JSON_MAX_BYTES);
    struct wire_header h = {.type = (uint8_t)type, .length = size};
    struct iovec iov = {.iov_base = (char *)text, .iov_len = size};
    int r = frame_send(s, &h, &iov, 1);
    return r < 0 ? channel_error(s->channel, r, err, "sending") : 0;
}

static void free_tokener(struct json_tokener **tokener)
{
    if (*tokener)
        json_tokener_free(*tokener);
}

int frame_recv_json(struct frame_stream *s, const struct wire_header *h, struct json_object **ret,
                    struct mig_error *err)
{
    if (h->type != WIRE_HELLO && h->type != WIRE_MESSAGE)
        return frame_protocol_error(s, err, "%s came where a message was due", frame_type_name(h->type));
    _cleanup_free_ char *text = malloc(h->length);
    if (!text)
        return mig_error_oom(err);
    struct iovec iov = {.iov_base = text, .iov_len = h->length};
    int r = frame_recv_payload(s, h, &iov, 1, err);
    if (r < 0)
        return r;
    /* json-c counts the value inside the innermost container as a level of its own. */
    _cleanup_(free_tokener) struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
    if (!tokener)
        return mig_error_oom(err);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, text, (int)h->length);
    enum json_tokener_error why = json_tokener_get_error(tokener);
    if (object && why == json_tokener_success && json_tokener_get_parse_end(tokener) == h->length &&
        json_object_is_type(object, json_type_object)) {
        if (json_numbers_fit(text, h->length)) {
            *ret = object;
            return 0;
        }
        json_object_put(object);
        return frame_protocol_error(s, err, "a %s has a number that does not fit into 64 bits",
                                    frame_type_name(h->type));
    }
    json_object_put(object);
    return frame_protocol_error(s, err, "a %s is no JSON object: %s", frame_type_name(h->type),
                                why == json_tokener_success ? "something else stands there"
                                                            : json_tokener_error_desc(why));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames over a channel: headers made and checked, sequence numbers, JSON messages. One frame_stream per
 * channel; its sending half belongs to one thread and its receiving half to one thread.
 */
#pragma once
#include "transport/channel.h"
#include "migd-wire.h"
#define XXH_STATIC_LINKING_ONLY /* the state of a digest as a member */
#include <xxhash.h>

struct json_object;

struct frame_stream {
    struct channel *channel; /* borrowed */
    uint64_t send_sequence, recv_sequence;
    bool checksum; /* payload checksums on what is sent */
    /* How long frame_recv waits for the first byte of a frame. 0, the default: the channel's stall timeout.
     * USEC_INFINITY where a peer that has nothing to say is in order; that it lives is then for keepalive to
     * find out. */
    uint64_t idle_timeout_usec;
};

void frame_stream_init(struct frame_stream *s, struct channel *channel, bool checksum);
/* Fills magic, version, sequence, checksums of *h; type, region, count, offset, length, round are the
 * caller's. Payload in iov (may be 0 pieces, must sum up to h->length unless the caller sends the rest itself
 * afterwards with send_file: then payload checksums must be off). */
int frame_send(struct frame_stream *s, struct wire_header *h, struct iovec *payload, int npayload);
/* Next header, checked: magic, version, header checksum, sequence, known type, limits of length and count.
 * The caller then receives the payload. -EPIPE: the peer closed in good order between frames. -EPROTO with
 * err otherwise. */
int frame_recv(struct frame_stream *s, struct wire_header *ret, struct mig_error *err);
/* h->length bytes into iov pieces; checks the payload checksum if the frame has one. -EBADMSG on mismatch. */
int frame_recv_payload(struct frame_stream *s, const struct wire_header *h, struct iovec *iov, int iovcnt,
                       struct mig_error *err);

/* The same in parts, for a payload whose front says where the rest goes: begin, parts that sum up to
 * h->length, end. */
struct frame_payload {
    uint64_t left_bytes;
    uint64_t wanted; /* checksum */
    bool check;
    XXH3_state_t state;
};
void frame_payload_begin(struct frame_payload *p, const struct wire_header *h);
int frame_payload_recv(struct frame_stream *s, struct frame_payload *p, struct iovec *iov, int iovcnt,
                       struct mig_error *err);
int frame_payload_end(struct frame_stream *s, struct frame_payload *p, struct mig_error *err);

/* JSON objects: type WIRE_HELLO or WIRE_MESSAGE. */
int frame_send_json(struct frame_stream *s, enum wire_type type, struct json_object *object,
                    struct mig_error *err);
/* The frame whose header was just received. A text that is no object, too long, or nested deeper than 16 is
 * -EPROTO. */
int frame_recv_json(struct frame_stream *s, const struct wire_header *h, struct json_object **ret,
                    struct mig_error *err);

/* "PAGES" etc. for messages; never NULL. */
const char *frame_type_name(unsigned type);
/* MIG_ERR_PEER_PROTOCOL with "PEER broke the protocol: ..." and the remedy. For the layers above, too. */
int frame_protocol_error(const struct frame_stream *s, struct mig_error *err, const char *format, ...)
    _printf_(3, 4);

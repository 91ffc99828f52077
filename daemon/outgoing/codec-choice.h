/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which codec the next batch of a connection should take, so that a migration with adaptive compression is
 * never slower than one without: a pure function of what was measured.
 *
 * Theory of operation: what counts is the time that a byte of memory takes from the mapping until the socket
 * has taken it, packing and waiting for the link included. It is measured per codec on whole batches, since
 * every model of the link (queues, a receiver that unpacks, other connections on the same cores) is wrong
 * somewhere. The choice with the least time is used. The others are tried again, for a few batches, at
 * intervals that double while nothing changes. The first batches of every change are not counted, because
 * they go into room that the codec before has left in the socket. Before a codec is tried at all, a small
 * sample is packed: if that alone takes longer than sending it unpacked, or if it does not get smaller, there
 * is nothing to try. Batches of a few pages tell little, so they take the best codec and are not counted.
 *
 * What finding out costs has a limit. Samples, and what trials took longer than the best codec would have,
 * are added up; while that is more than a 64th of all the time there are no more of either. So only the first
 * trials, before there is much time to compare with, can cost more. A trial ends when it has cost what two
 * batches of the best codec take: with one that is three times slower, or some that are less so, since a
 * single one may be slow by accident. On a busy machine this matters most: a sample is over before anything
 * interrupts it, and a batch is not.
 *
 * Used by one thread. Knows no clock and no socket.
 */
#pragma once
#include "transport/codec.h"

#define CODEC_SAMPLE_BYTES ((size_t)64 << 10)

struct codec_choice {
    bool offered[CODEC_MAX];                                /* the peer and this build know it */
    uint64_t psec_per_byte[CODEC_MAX];                      /* as last measured; 0: never */
    unsigned interval[CODEC_MAX], next_trial_in[CODEC_MAX]; /* batches of the best one */
    enum codec best, now;
    unsigned batches_now;                 /* since `now` was taken, or its window began */
    uint64_t counted_bytes, counted_psec; /* of those after the first few */
    uint64_t sent_nsec, lost_nsec;        /* of all counted batches; by samples and trials */
    uint64_t trial_lost_nsec;             /* by the one that runs */
};

void codec_choice_init(struct codec_choice *c, const bool offered[CODEC_MAX]);
/* The codec for the next batch, of so many bytes. *ret_sample: a codec of which a sample of that batch is to
 * be packed first and told by codec_choice_sampled, after which this is called again; CODEC_NONE: none. */
enum codec codec_choice_next(struct codec_choice *c, size_t bytes, enum codec *ret_sample);
void codec_choice_sampled(struct codec_choice *c, enum codec codec, size_t bytes, size_t packed_bytes,
                          uint64_t nsec);
/* A batch of so many bytes of memory went out with that codec in so many nanoseconds. */
void codec_choice_sent(struct codec_choice *c, enum codec codec, size_t bytes, uint64_t nsec);

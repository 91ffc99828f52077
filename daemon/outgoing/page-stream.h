/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sending side of pages: N connections with a thread each, which pull runs of dirty pages out of the
 * regions' bitmaps.
 *
 * Theory of operation: page_stream_round is called by the worker with the bitmaps as the harvest left them.
 * The threads take batches of up to 2 MiB from a shared cursor (a lock for each batch, none per page); a
 * batch's bits are cleared under that lock, before its first byte is read (R2). Each batch is split into zero
 * runs and others; others go out as one frame: to another host from the memfd with sendfile (large runs, no
 * checksums), else from the mapping. While no zero pages come, only some pages are looked at. When the
 * bitmaps are empty each thread sends a FENCE, and the round ends when all have. Until the destination has
 * confirmed the fence, what it did not acknowledge counts as in flight (flight.h).
 */
#pragma once
#include "base/error.h"
#include "memory/region.h"
#include "migration/options.h"
#include "transport/channel.h"
#include "transport/codec.h"

struct page_stream;
struct ratelimit;

struct page_stream_options {
    bool checksum;
    enum compression compression;
    bool codecs[CODEC_MAX];  /* that the destination unpacks */
    bool acknowledged;       /* the destination says on each connection what it has applied */
    bool grows;              /* the destination takes more connections while it runs */
    bool resumed;            /* what is to be sent stands in the bitmaps, in round 0 too */
    int cancel_fd;           /* borrowed */
    struct ratelimit *total; /* borrowed: a cap that is shared with other migrations; NULL: none */
    /* --verify: per region an array of npages digests of what was last sent, or NULL. Filled by the senders.
     */
    uint64_t *const *sent_digests;
    uint32_t batch_pages; /* taken at once, up to BATCH_PAGES; 0: BATCH_PAGES. For who measures what suits. */
    bool exact_digests; /* of exactly what went out, whatever the guest does meanwhile: pages are copied first
                         */
};

/* Called on the thread that waits for a round, about every interval_usec. */
struct page_stream_looker {
    uint64_t interval_usec; /* 0: never */
    void (*look)(void *userdata);
    void *userdata;
};

struct page_round {
    uint64_t normal_pages, zero_pages;
    uint64_t begun_pages;   /* the same, and those of frames that did not get out whole */
    uint64_t payload_bytes; /* of normal pages */
    uint64_t wire_bytes;
    uint64_t packed_bytes, packed_wire_bytes; /* of pages that were packed: before and after */
    uint64_t
        changed_pages; /* with sent_digests: pages sent again whose digest differs from the one sent before */
    uint64_t usec;
    uint64_t cpu_usec; /* of all sender threads */
};

/* channels: borrowed, already attached (HELLO done), their sequence 1 (the HELLO was 0). */
int page_stream_new(struct page_stream **ret, struct channel *const *channels, size_t nchannels,
                    struct region *const *regions, size_t nregions, const struct page_stream_options *options,
                    struct mig_error *err);
/* One more, attached as the others were: it takes part in the round that runs, if nobody has sent its fence
 * yet, and in those that follow. Only while options.grows, from the thread that calls page_stream_round, or
 * from its looker. */
int page_stream_add(struct page_stream *s, struct channel *channel);
void page_stream_set_looker(struct page_stream *s, const struct page_stream_looker *looker);
/* Ends and joins the threads. */
struct page_stream *page_stream_free(struct page_stream *s);
DEFINE_CLEANUP(struct page_stream *, page_stream_free)

/* Bytes per second over all connections; 0: no cap. Any thread, at once. */
void page_stream_set_bandwidth(struct page_stream *s, uint64_t bytes_per_sec);
/* The cap that the pages wait for, for what else is sent for this migration. Lives as long as the stream. */
struct ratelimit *page_stream_limit(struct page_stream *s);
/* Of the rounds that follow: one that is not over by then ends with -ETIME. At first there is none. */
void page_stream_set_deadline(struct page_stream *s, uint64_t deadline_usec);
/* One round, round 0 being the full send: every page that a file holds data for is sent, holes go as ZERO.
 * Later rounds send what the bitmaps say. Returns when all was handed to the sockets, the FENCE included. On
 * an error of any connection the others stop and the first error is returned; bits of batches that were under
 * way are set again. */
int page_stream_round(struct page_stream *s, uint32_t round, struct page_round *ret, struct mig_error *err);
/* The destination has answered the fence of the round: nothing is in flight. */
void page_stream_confirmed(struct page_stream *s);
/* After a break, with what the destination has applied of each connection (frames, HELLO included): the rest
 * of what was in flight is dirty again. *ret_pages: pages that this has marked. -EPROTO: it claims more than
 * was sent. */
int page_stream_put_back(struct page_stream *s, const uint64_t *applied, uint64_t *ret_pages);
/* Any thread: what the round that runs has sent so far; nothing before the first, and nothing from
 * page_stream_settled on, which whoever called page_stream_round calls when it has added the round to its own
 * figures. */
void page_stream_progress(struct page_stream *s, struct page_round *ret);
void page_stream_settled(struct page_stream *s);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One page connection of the source: turns batches of pages into frames. Used by one thread.
 *
 * Zero pages are collected into extents, which travel in a frame of their own when the table is full and at
 * the end of the round. Other pages of a batch travel as one frame. A large contiguous piece goes from the
 * file by sendfile, pieces go from the mapping. With payload checksums or exact digests they are copied
 * first: the guest may write between the digest and the send, and a copy is the same in both.
 */
#pragma once
#include "base/ratelimit.h"
#include "migration/options.h"
#include "outgoing/flight.h"
#include "outgoing/page-cursor.h"
#include "transport/frame.h"

struct page_counters {            /* shared by the senders; of the current round */
    _Atomic uint64_t begun_pages; /* with the flight: also those whose frame did not get out whole */
    _Atomic uint64_t normal_pages, zero_pages, payload_bytes, wire_bytes, changed_pages, packed_bytes,
        packed_wire_bytes;
};
struct page_sender;

struct page_sender_setup { /* all borrowed */
    struct channel *channel;
    struct page_cursor *cursor;
    struct ratelimit *limit;
    struct page_counters *counters;
    uint64_t *const *sent_digests;
    bool exact_digests;
    struct flight *flight; /* NULL: the destination says nothing of what it has applied */
    bool checksum;
    enum compression compression;
    const bool *codecs; /* CODEC_MAX of them: what the destination unpacks. Read by page_sender_new alone. */
};
int page_sender_new(struct page_sender **ret, const struct page_sender_setup *setup);
struct page_sender *page_sender_free(struct page_sender *s);
DEFINE_CLEANUP(struct page_sender *, page_sender_free)

/* Takes and sends batches until the cursor is at its end or *stop is set. When it fails or stops, what it
 * took and did not send is back in the bitmaps. -ECANCELED when stopped. */
int page_sender_round(struct page_sender *s, uint32_t round, const _Atomic bool *stop);
/* The end of that. connections: that send such a fence; 0 to a destination that counts them itself. */
int page_sender_fence(struct page_sender *s, uint32_t round, unsigned connections);
/* Frames that were begun, HELLO included; between rounds. */
uint64_t page_sender_frames(const struct page_sender *s);

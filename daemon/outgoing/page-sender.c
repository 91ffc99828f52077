/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/page-sender.h"
#include "memory/pages.h"
#include "outgoing/page-packer.h"
#include <endian.h>
#include <string.h>
#include <sys/mman.h>

#define BATCH_BYTES         (BATCH_PAGES * REGION_PAGE_SIZE)
#define SEND_FILE_MIN_BYTES (64u << 10)
#define FILL_MIN_PAGES      16u
#define PROBE_PAGES         64u   /* while no zero pages come, one page of so many is looked at */
#define PROBE_AFTER_PAGES   4096u /* that many without a zero page among them */

#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#endif

struct zeros { /* extents that wait to be sent, all of one region */
    uint32_t region;
    uint32_t count;
    uint64_t pages;
    struct wire_extent table[WIRE_EXTENTS_MAX];
};
struct pieces { /* of the current batch, not zero */
    uint32_t count;
    uint64_t bytes;
    struct wire_extent table[BATCH_PAGES];
};
static_assert(BATCH_PAGES <= WIRE_EXTENTS_MAX, "a batch in single pages fits a table");

struct page_sender {
    struct page_sender_setup setup;
    struct frame_stream stream;
    uint32_t round;
    bool no_send_file;
    struct page_batch batch;
    struct pieces pieces;
    struct zeros zeros;
    uint64_t pages_since_zero, pages_until_probe;
    struct wire_extent wire_table[WIRE_EXTENTS_MAX];
    struct iovec iov[BATCH_PAGES + 1];
    uint8_t *copy;              /* BATCH_BYTES, with checksums, exact digests or packing */
    struct page_packer *packer; /* NULL: nothing is packed */
    uint64_t zero_digest;
};

int page_sender_new(struct page_sender **ret, const struct page_sender_setup *setup)
{
    static const uint8_t zero_page[REGION_PAGE_SIZE];
    _cleanup_(page_sender_freep) struct page_sender *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->setup = *setup;
    frame_stream_init(&s->stream, setup->channel, setup->checksum);
    s->stream.send_sequence = s->stream.recv_sequence = 1; /* HELLO was 0 */
    s->zero_digest = XXH3_64bits(zero_page, sizeof zero_page);
    /*
     * To another host sendfile saves the sender a copy. On this host the receiver then copies out of cold
     * memory, page by page, and both together take a third longer than two copies of which one stays in the
     * cache.
     */
    s->no_send_file = setup->channel->local || setup->checksum || setup->exact_digests;
    int r = page_packer_new(&s->packer, setup->compression, setup->codecs);
    if (r < 0)
        return r;
    if ((setup->checksum || setup->exact_digests || s->packer) && !(s->copy = malloc(BATCH_BYTES)))
        return -ENOMEM;
    *ret = TAKE_PTR(s);
    return 0;
}

struct page_sender *page_sender_free(struct page_sender *s)
{
    if (s) {
        page_packer_free(s->packer);
        free(s->copy);
    }
    free(s);
    return NULL;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- what the destination has applied ---- */

static int take_word(struct page_sender *s)
{
    struct wire_header h;
    int r = frame_recv(&s->stream, &h, NULL);
    if (r < 0)
        return r == -EPIPE ? -ECONNRESET : r;
    if (h.type != WIRE_APPLIED || h.offset > s->stream.send_sequence)
        return -EPROTO;
    flight_applied(s->setup.flight, h.offset);
    return 0;
}

/* What has come, without waiting for more; also the soonest news that the connection is gone. */
static int take_words(struct page_sender *s)
{
    int r = 0;
    while (s->setup.flight && r == 0) {
        r = s->setup.channel->ops->wait_readable(s->setup.channel, 0);
        if (r == -ETIMEDOUT)
            return 0;
        if (r == 0)
            r = take_word(s);
    }
    return r;
}

/* Notes the extents of the frame that comes next. */
static int note_flight(struct page_sender *s, uint32_t region, const struct wire_extent *table,
                       uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += table[i].length;
    add(&s->setup.counters->begun_pages, bytes >> REGION_PAGE_SHIFT);
    int r = s->setup.flight ? -ENOBUFS : 0;
    while (r == -ENOBUFS) {
        r = flight_add(s->setup.flight, s->stream.send_sequence, region, table, count);
        if (r == -ENOBUFS) {
            int w = take_word(s);
            if (w < 0)
                return w;
        }
    }
    return r;
}

uint64_t page_sender_frames(const struct page_sender *s)
{
    return s->stream.send_sequence;
}

/* Sends a header with a table of extents, or with none when there is one extent, and what stands in
 * iov[1..npieces]. */
static int send_extents(struct page_sender *s, struct wire_header *h, const struct wire_extent *table,
                        uint32_t count, int npieces)
{
    uint64_t table_bytes = 0;
    int first = 1;
    h->round = s->round;
    if (count > 1 || h->type == WIRE_PACKED) {
        for (uint32_t i = 0; i < count; i++)
            s->wire_table[i] = (struct wire_extent){htole64(table[i].offset), htole64(table[i].length)};
        table_bytes = count * sizeof *table;
        s->iov[0] = (struct iovec){s->wire_table, table_bytes};
        first = 0;
        h->count = count;
        h->length += table_bytes;
    } else {
        h->offset = table[0].offset;
    }
    int r = ratelimit_take(s->setup.limit, sizeof *h + h->length);
    if (r == 0)
        r = note_flight(s, h->region, table, count);
    if (r < 0)
        return r;
    r = frame_send(&s->stream, h, s->iov + first, npieces + 1 - first);
    if (r == 0)
        add(&s->setup.counters->wire_bytes, sizeof *h + h->length);
    return r;
}

/* ---- zero pages ---- */

static int flush_zeros(struct page_sender *s)
{
    struct zeros *z = &s->zeros;
    if (z->count == 0)
        return 0;
    struct wire_header h = {.type = WIRE_ZERO, .region = z->region};
    if (z->count == 1)
        h.payload_checksum = z->table[0].length;
    int r = send_extents(s, &h, z->table, z->count, 0);
    if (r < 0)
        return r;
    add(&s->setup.counters->zero_pages, z->pages);
    z->count = 0;
    z->pages = 0;
    return 0;
}

static int add_zeros(struct page_sender *s, uint64_t first, uint64_t count)
{
    struct zeros *z = &s->zeros;
    uint64_t offset = first << REGION_PAGE_SHIFT, length = count << REGION_PAGE_SHIFT;
    struct wire_extent *last = z->count ? &z->table[z->count - 1] : NULL;
    z->pages += count;
    if (last && last->offset + last->length == offset)
        last->length += length;
    else
        z->table[z->count++] = (struct wire_extent){offset, length};
    return z->count == WIRE_EXTENTS_MAX ? flush_zeros(s) : 0;
}

/* ---- digests, for --verify ---- */

static void note_digest(struct page_sender *s, uint64_t page, uint64_t digest, uint64_t *changed)
{
    uint64_t *sent = &s->setup.sent_digests[s->batch.region_index][page];
    *changed += s->round > 0 && *sent != digest;
    *sent = digest;
}

static void note_run(struct page_sender *s, uint64_t first, uint64_t count, const uint8_t *bytes)
{
    uint64_t changed = 0;
    if (!s->setup.sent_digests || !s->setup.sent_digests[s->batch.region_index])
        return;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t digest =
            bytes ? XXH3_64bits(bytes + i * REGION_PAGE_SIZE, REGION_PAGE_SIZE) : s->zero_digest;
        note_digest(s, first + i, digest, &changed);
    }
    if (changed)
        add(&s->setup.counters->changed_pages, changed);
}

/* ---- the others ---- */

static int send_file(struct page_sender *s, struct wire_header *h)
{
    const struct region *r = s->batch.region;
    int rc = send_extents(s, h, s->pieces.table, 1, 0);
    if (rc < 0)
        return rc;
    rc = s->setup.channel->ops->send_file(s->setup.channel, r->fd,
                                          r->offset_bytes + s->pieces.table[0].offset, s->pieces.bytes);
    if (rc != -EOPNOTSUPP)
        return rc;
    s->no_send_file = true;
    struct iovec iov = {r->map + s->pieces.table[0].offset, s->pieces.bytes};
    return s->setup.channel->ops->sendv(s->setup.channel, &iov, 1);
}

/* The pieces one after the other, where nobody changes them any more. */
static void copy_pieces(struct page_sender *s)
{
    uint8_t *at = s->copy;
    for (uint32_t i = 0; i < s->pieces.count; i++) {
        memcpy(at, s->iov[i + 1].iov_base, s->iov[i + 1].iov_len);
        at += s->iov[i + 1].iov_len;
    }
}

static void note_pieces(struct page_sender *s, bool copied)
{
    const uint8_t *at = s->copy;
    for (uint32_t i = 0; i < s->pieces.count; i++) {
        const struct wire_extent *e = &s->pieces.table[i];
        note_run(s, e->offset >> REGION_PAGE_SHIFT, e->length >> REGION_PAGE_SHIFT,
                 copied ? at : s->batch.region->map + e->offset);
        if (copied)
            at += e->length;
    }
}

/* -E2BIG: it does not get smaller, and nothing was sent. */
static int send_packed(struct page_sender *s, enum codec codec)
{
    const struct pieces *p = &s->pieces;
    struct wire_header h = {.type = WIRE_PACKED, .region = s->batch.region_index, .offset = codec};
    const void *packed;
    size_t packed_bytes;
    int r = page_packer_pack(s->packer, s->copy, p->bytes, &packed, &packed_bytes);
    if (r < 0)
        return r;
    h.length = packed_bytes;
    s->iov[1] = (struct iovec){(void *)packed, packed_bytes};
    r = send_extents(s, &h, p->table, p->count, 1);
    if (r < 0)
        return r;
    add(&s->setup.counters->packed_bytes, p->bytes);
    add(&s->setup.counters->packed_wire_bytes, packed_bytes);
    return 0;
}

static int send_unpacked(struct page_sender *s, bool copied)
{
    const struct pieces *p = &s->pieces;
    struct wire_header h = {.type = WIRE_PAGES, .region = s->batch.region_index, .length = p->bytes};
    if (p->count == 1 && p->bytes >= SEND_FILE_MIN_BYTES && !s->no_send_file)
        return send_file(s, &h);
    if (copied)
        s->iov[1] = (struct iovec){s->copy, p->bytes};
    return send_extents(s, &h, p->table, p->count, copied ? 1 : (int)p->count);
}

static int send_pieces(struct page_sender *s)
{
    const struct pieces *p = &s->pieces;
    enum codec codec = CODEC_NONE;
    int r = -E2BIG;
    if (p->count == 0)
        return 0;
    for (uint32_t i = 0; i < p->count; i++)
        s->iov[i + 1] = (struct iovec){s->batch.region->map + p->table[i].offset, p->table[i].length};
    if (s->packer)
        codec = page_packer_choose(s->packer, s->iov + 1, (int)p->count, p->bytes);
    bool copied = s->setup.checksum || s->setup.exact_digests || codec != CODEC_NONE;
    if (copied)
        copy_pieces(s);
    note_pieces(s, copied);
    if (codec != CODEC_NONE)
        r = send_packed(s, codec);
    if (r == -E2BIG)
        r = send_unpacked(s, copied);
    if (r < 0)
        return r;
    if (s->packer)
        page_packer_sent(s->packer, p->bytes);
    add(&s->setup.counters->normal_pages, p->bytes >> REGION_PAGE_SHIFT);
    add(&s->setup.counters->payload_bytes, p->bytes);
    return 0;
}

static void add_piece(struct page_sender *s, uint64_t first, uint64_t count)
{
    struct pieces *p = &s->pieces;
    p->table[p->count++] = (struct wire_extent){first << REGION_PAGE_SHIFT, count << REGION_PAGE_SHIFT};
    p->bytes += count << REGION_PAGE_SHIFT;
}

/* Is this page zero? Where pages go by sendfile, a few bytes of the file say so without the page fault of a
 * first look. */
static bool probe(const struct page_sender *s, uint64_t page)
{
    const struct region *r = s->batch.region;
    uint64_t head[8], any = 0, offset = page << REGION_PAGE_SHIFT;
    if (!s->no_send_file &&
        pread(r->fd, head, sizeof head, (off_t)(r->offset_bytes + offset)) == sizeof head) {
        for (size_t i = 0; i < ELEMENTS(head); i++)
            any |= head[i];
        if (any)
            return false;
    }
    return page_is_zero(r->map + offset);
}

/*
 * Looking at every page costs a cache miss each, and page faults the first time, which is a fifth of what
 * sending costs. Zero pages come in stretches. So after a while without any, a few pages are looked at, until
 * one is zero. A zero page that slips through travels as any other page.
 */
static bool seems_without_zeros(struct page_sender *s, const struct page_run *run)
{
    if (s->pages_since_zero < PROBE_AFTER_PAGES)
        return false;
    for (uint64_t at = 0;;) {
        if (s->pages_until_probe >= run->count - at) {
            s->pages_until_probe -= run->count - at;
            return true;
        }
        at += s->pages_until_probe;
        if (probe(s, run->first + at))
            return false;
        s->pages_until_probe = PROBE_PAGES;
    }
}

/* Where every page is looked at for the first time, one call takes less than the page faults that it saves.
 */
static void fill_page_tables(const struct region *r, const struct page_run *run)
{
    if (run->count >= FILL_MIN_PAGES)
        (void)madvise(r->map + (run->first << REGION_PAGE_SHIFT), run->count << REGION_PAGE_SHIFT,
                      MADV_POPULATE_READ);
}

/* Parts a run into zero pages and others. */
static int sort_run(struct page_sender *s, const struct page_run *run)
{
    int r = 0;
    if (seems_without_zeros(s, run)) {
        add_piece(s, run->first, run->count);
        return 0;
    }
    if (s->round == 0)
        fill_page_tables(s->batch.region, run);
    for (uint64_t at = run->first, end = run->first + run->count; at < end && r == 0;) {
        uint64_t n = pages_run(s->batch.region, at, end - at, false);
        if (n > 0) {
            add_piece(s, at, n);
            s->pages_since_zero += n;
        } else {
            n = MAX(pages_run(s->batch.region, at, end - at, true), UINT64_C(1));
            note_run(s, at, n, NULL);
            r = add_zeros(s, at, n);
            s->pages_since_zero = 0;
        }
        at += n;
    }
    return r;
}

static int send_batch(struct page_sender *s)
{
    int r = 0;
    s->pieces.count = 0;
    s->pieces.bytes = 0;
    if (s->zeros.count && s->zeros.region != s->batch.region_index)
        r = flush_zeros(s);
    if (r < 0)
        return r;
    s->zeros.region = s->batch.region_index;
    for (unsigned i = 0; i < s->batch.nruns && r == 0; i++) {
        const struct page_run *run = &s->batch.runs[i];
        if (!run->hole) {
            r = sort_run(s, run);
            continue;
        }
        note_run(s, run->first, run->count, NULL);
        r = add_zeros(s, run->first, run->count);
    }
    return r < 0 ? r : send_pieces(s);
}

/* What was taken and may not have gone out is dirty again. */
static void put_back(struct page_sender *s, bool batch)
{
    for (unsigned i = 0; batch && i < s->batch.nruns; i++)
        page_cursor_put_back(s->setup.cursor, s->batch.region_index, s->batch.runs[i].first,
                             s->batch.runs[i].count);
    for (uint32_t i = 0; i < s->zeros.count; i++)
        page_cursor_put_back(s->setup.cursor, s->zeros.region, s->zeros.table[i].offset >> REGION_PAGE_SHIFT,
                             s->zeros.table[i].length >> REGION_PAGE_SHIFT);
    s->zeros.count = 0;
    s->zeros.pages = 0;
}

int page_sender_round(struct page_sender *s, uint32_t round, const _Atomic bool *stop)
{
    int r = 0;
    s->round = round;
    while (!*stop && page_cursor_take(s->setup.cursor, &s->batch)) {
        r = send_batch(s);
        if (r == 0)
            r = take_words(s);
        if (r < 0) {
            put_back(s, true);
            return r;
        }
    }
    r = *stop ? -ECANCELED : flush_zeros(s);
    if (r < 0)
        put_back(s, false);
    return r;
}

int page_sender_fence(struct page_sender *s, uint32_t round, unsigned connections)
{
    struct wire_header fence = {.type = WIRE_FENCE, .round = round, .offset = connections};
    int r = frame_send(&s->stream, &fence, NULL, 0);
    if (r == 0)
        add(&s->setup.counters->wire_bytes, sizeof fence);
    return r;
}

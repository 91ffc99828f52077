/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages into place. Runs on the thread of its page connection; several connections apply at the same time, to
 * different pages within a round, and the fences keep rounds apart.
 *
 * Holds always: a byte of memory is touched only after the region number, the offset, the length and the
 * alignment of its whole frame were checked. A payload checksum is checked after the bytes are in place,
 * since the memory is not used before the migration is complete, and a wrong one ends it.
 */
#include "incoming/apply.h"
#include "base/clock.h"
#include "incoming/populate-beside.h"
#include "incoming/populate.h"
#include "memory/pages.h"
#include "transport/codec.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

/* The source keeps a note of each frame until it hears of it: often enough that this stays small. */
#define APPLIED_INTERVAL_FRAMES 64u

struct applier {
    const struct apply *apply;
    struct frame_stream *stream;
    struct populate populate;
    struct unpacking { /* made when the first PACKED comes */
        struct codec_state *state;
        uint8_t packed[CODEC_MAX_BYTES], pages[CODEC_MAX_BYTES];
    } * unpacking;
    struct wire_extent table[WIRE_EXTENTS_MAX];
    struct iovec places[WIRE_EXTENTS_MAX];
};

static int check_extent(struct applier *a, const struct region *r, const char *type, uint64_t offset,
                        uint64_t length, struct mig_error *err)
{
    if (offset % REGION_PAGE_SIZE || length % REGION_PAGE_SIZE || length == 0 ||
        !range_inside(offset, length, r->size_bytes))
        return frame_protocol_error(a->stream, err,
                                    "%s with a range that does not lie in memory region %s: offset %#llx, "
                                    "length %#llx, the region has "
                                    "%#llx bytes",
                                    type, r->name, (unsigned long long)offset, (unsigned long long)length,
                                    (unsigned long long)r->size_bytes);
    return 0;
}

/* The region that the frame is about, when it is one that may be written. */
static int find_region(struct applier *a, const struct wire_header *h, struct region **ret,
                       struct mig_error *err)
{
    if (h->region >= a->apply->nregions)
        return frame_protocol_error(a->stream, err, "%s for memory region number %u, and there are %zu",
                                    frame_type_name(h->type), h->region, a->apply->nregions);
    struct region *r = a->apply->regions[h->region];
    if (!r->writable) {
        int rc = mig_error_set(err, MIG_ERR_PEER_PROTOCOL, EPROTO,
                               "memory region %s is open for reading only and %s wants to fill it", r->name,
                               a->stream->channel->peer);
        mig_error_hint(
            err, "give the destination's memory with a descriptor that is open for reading and writing");
        return rc;
    }
    *ret = r;
    return 0;
}

/* The frame's extent table, checked; without one, the single extent that the header describes. */
static int recv_table(struct applier *a, const struct wire_header *h, const struct region *r,
                      struct frame_payload *payload, uint32_t *ret_count, uint64_t *ret_sum,
                      struct mig_error *err)
{
    uint32_t count = h->count;
    if (count == 0) {
        a->table[0] = (struct wire_extent){h->offset, h->type == WIRE_ZERO ? h->payload_checksum : h->length};
        count = 1;
    } else {
        struct iovec iov = {a->table, count * sizeof a->table[0]};
        int rc = frame_payload_recv(a->stream, payload, &iov, 1, err);
        if (rc < 0)
            return rc;
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct wire_extent *e = &a->table[i];
        if (h->count) {
            e->offset = le64toh(e->offset);
            e->length = le64toh(e->length);
        }
        int rc = check_extent(a, r, frame_type_name(h->type), e->offset, e->length, err);
        if (rc < 0)
            return rc;
        sum += e->length; /* cannot wrap: 1024 times the largest region is below 2^64 */
    }
    *ret_count = count;
    *ret_sum = sum;
    return 0;
}

static void count_pages(struct applier *a, uint64_t bytes)
{
    struct apply_counters *c = a->apply->counters;
    atomic_fetch_add_explicit(&c->normal_pages, bytes >> REGION_PAGE_SHIFT, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->payload_bytes, bytes, memory_order_relaxed);
}

/* The frame's extents are in place. */
static void mark_pages(struct applier *a, struct region *r, uint32_t count)
{
    if (!a->apply->mark || !atomic_load(a->apply->mark))
        return;
    for (uint32_t i = 0; i < count; i++)
        region_mark(r, a->table[i].offset >> REGION_PAGE_SHIFT, a->table[i].length >> REGION_PAGE_SHIFT);
}

/* The memory of the frame's extents. surely: this thread will write it, and a fault that cannot be served
 * would be a signal. Extents that touch are one piece. */
static int prepare_places(struct applier *a, uint32_t region, struct region *r, uint32_t count, bool surely,
                          struct mig_error *err)
{
    for (uint32_t i = 0, next; i < count; i = next) {
        uint64_t offset = a->table[i].offset, length = a->table[i].length;
        for (next = i + 1; next < count && a->table[next].offset == offset + length; next++)
            length += a->table[next].length;
        if (a->apply->beside && populate_beside_came(a->apply->beside, region, offset, length))
            continue;
        int rc = surely ? populate_surely(&a->populate, region, r, offset, length, err) : 0;
        if (rc < 0)
            return rc;
        if (!surely)
            populate_ahead(&a->populate, region, r, offset, length);
    }
    return 0;
}

static int apply_pages(struct applier *a, const struct wire_header *h, struct mig_error *err)
{
    struct region *r;
    struct frame_payload payload;
    uint32_t count;
    uint64_t sum;
    int rc = find_region(a, h, &r, err);
    if (rc < 0)
        return rc;
    frame_payload_begin(&payload, h);
    rc = recv_table(a, h, r, &payload, &count, &sum, err);
    if (rc < 0)
        return rc;
    if (sum != payload.left_bytes)
        return frame_protocol_error(a->stream, err,
                                    "PAGES whose extents have %llu bytes and whose payload has %llu",
                                    (unsigned long long)sum, (unsigned long long)payload.left_bytes);
    rc = prepare_places(a, h->region, r, count, a->stream->channel->ops->writes_memory, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++)
        a->places[i] = (struct iovec){r->map + a->table[i].offset, a->table[i].length};
    rc = frame_payload_recv(a->stream, &payload, a->places, (int)count, err);
    if (rc == -EFAULT)
        return populate_no_memory(r, err);
    if (rc == 0)
        rc = frame_payload_end(a->stream, &payload, err);
    if (rc < 0)
        return rc;
    mark_pages(a, r, count);
    count_pages(a, sum);
    return 0;
}

static int make_unpacking(struct applier *a, struct mig_error *err)
{
    if (a->unpacking)
        return 0;
    struct unpacking *u = malloc(sizeof *u); /* touched as far as frames are large */
    if (!u || codec_state_new(&u->state) < 0) {
        free(u);
        return mig_error_oom(err);
    }
    a->unpacking = u;
    return 0;
}

static int apply_packed(struct applier *a, const struct wire_header *h, struct mig_error *err)
{
    struct region *r;
    struct frame_payload payload;
    uint32_t count;
    uint64_t sum;
    int rc = find_region(a, h, &r, err);
    if (rc == 0)
        rc = make_unpacking(a, err);
    if (rc < 0)
        return rc;
    struct unpacking *u = a->unpacking;
    frame_payload_begin(&payload, h);
    rc = recv_table(a, h, r, &payload, &count, &sum, err);
    if (rc < 0)
        return rc;
    if (sum > CODEC_MAX_BYTES)
        return frame_protocol_error(a->stream, err, "PACKED of %llu bytes, and %u are allowed",
                                    (unsigned long long)sum, WIRE_PACKED_MAX_BYTES);
    size_t packed_bytes = payload.left_bytes; /* at most as large as its room, by the frame's own check */
    struct iovec iov = {u->packed, packed_bytes};
    rc = frame_payload_recv(a->stream, &payload, &iov, 1, err);
    if (rc == 0)
        rc = frame_payload_end(a->stream, &payload, err);
    if (rc == 0)
        rc = prepare_places(a, h->region, r, count, true, err);
    if (rc < 0)
        return rc;
    /* One piece is unpacked where it belongs. */
    uint8_t *pages = count == 1 ? r->map + a->table[0].offset : u->pages;
    rc = codec_unpack(u->state, h->offset < CODEC_MAX ? (enum codec)h->offset : CODEC_NONE, u->packed,
                      packed_bytes, pages, sum);
    if (rc == -ENOMEM)
        return mig_error_oom(err);
    if (rc < 0)
        return frame_protocol_error(
            a->stream, err,
            "PACKED (codec %llu) for memory region %s, offset %#llx, whose %zu bytes do not "
            "unpack to %llu",
            (unsigned long long)h->offset, r->name, (unsigned long long)a->table[0].offset, packed_bytes,
            (unsigned long long)sum);
    for (uint32_t i = 0; i < count && count > 1; i++) {
        memcpy(r->map + a->table[i].offset, pages, a->table[i].length);
        pages += a->table[i].length;
    }
    mark_pages(a, r, count);
    count_pages(a, sum);
    return 0;
}

static int apply_zero(struct applier *a, const struct wire_header *h, struct mig_error *err)
{
    struct region *r;
    struct frame_payload payload;
    uint32_t count;
    uint64_t sum;
    int rc = find_region(a, h, &r, err);
    if (rc < 0)
        return rc;
    frame_payload_begin(&payload, h);
    rc = recv_table(a, h, r, &payload, &count, &sum, err);
    if (rc == 0)
        rc = frame_payload_end(a->stream, &payload, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++)
        pages_zero(r, a->table[i].offset >> REGION_PAGE_SHIFT, a->table[i].length >> REGION_PAGE_SHIFT);
    mark_pages(a, r, count);
    atomic_fetch_add_explicit(&a->apply->counters->zero_pages, sum >> REGION_PAGE_SHIFT,
                              memory_order_relaxed);
    return 0;
}

static void free_applier(struct applier **a)
{
    if (!*a)
        return;
    populate_destroy(&(*a)->populate);
    if ((*a)->unpacking)
        codec_state_free((*a)->unpacking->state);
    free((*a)->unpacking);
    free(*a);
}

/* The frame that was just received is in place. */
static int note_applied(struct applier *a, unsigned connection, uint64_t *told, struct mig_error *err)
{
    struct frame_stream *s = a->stream;
    if (a->apply->applied)
        a->apply->applied[connection] = s->recv_sequence;
    if (!a->apply->acknowledge || s->recv_sequence - *told < APPLIED_INTERVAL_FRAMES)
        return 0;
    *told = s->recv_sequence;
    struct wire_header h = {.type = WIRE_APPLIED, .offset = s->recv_sequence};
    int r = frame_send(s, &h, NULL, 0);
    return r < 0 ? channel_error(s->channel, r, err, "acknowledging pages") : 0;
}

int apply_run(const struct apply *a, unsigned connection, struct frame_stream *stream, struct mig_error *err)
{
    _cleanup_(free_applier) struct applier *s = malloc(sizeof *s);
    if (!s)
        return mig_error_oom(err);
    s->apply = a;
    s->stream = stream;
    s->unpacking = NULL;
    if (populate_init(&s->populate, a->nregions) < 0)
        return mig_error_oom(err);
    /* The source rests between rounds, and a cap may make it slow. */
    stream->idle_timeout_usec = USEC_INFINITY;
    for (uint64_t told = stream->recv_sequence;;) {
        struct wire_header h;
        struct mig_error why = MIG_ERROR_INIT;
        int rc = frame_recv(stream, &h, &why);
        if (rc == -EPIPE)
            return 0;
        if (rc == 0) {
            if (h.type == WIRE_PAGES)
                rc = apply_pages(s, &h, &why);
            else if (h.type == WIRE_PACKED)
                rc = apply_packed(s, &h, &why);
            else if (h.type == WIRE_ZERO)
                rc = apply_zero(s, &h, &why);
            else if (h.type == WIRE_FENCE)
                a->fence(a->userdata, connection, h.round, h.offset);
            else
                rc = frame_protocol_error(stream, &why, "%s came on a page connection",
                                          frame_type_name(h.type));
        }
        if (rc == 0)
            rc = note_applied(s, connection, &told, &why);
        if (rc < 0) {
            if (err)
                *err = why;
            mig_error_wrap(err, "page connection %u", connection);
            return rc;
        }
    }
}

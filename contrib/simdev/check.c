/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What makes a page right: in the slot of every device whose journals are given stands a sound record of this
 * device for this page, and its sequence number is the newest that any of the device's journals has for the
 * page. Memory that is mapped at several IOVAs is one page with several addresses: the newest over all of
 * them must be there.
 *
 * What makes a chain right: the journals of one device, in the order given, go on without gap or repeat.
 */
#include "check.h"
#include "base/fds.h"
#include "record.h"
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES (1ull << 20)

static void report_bad(struct check *c, uint64_t iova, uint32_t id, uint64_t expected, uint64_t found,
                       const char *why)
{
    if (c->n_bad < CHECK_BAD_SHOWN) {
        struct check_bad *b = &c->bad[c->n_bad];
        *b = (struct check_bad){.iova = iova, .device_id = id, .expected = expected, .found = found};
        snprintf(b->why, sizeof b->why, "%s", why);
    }
    c->n_bad++;
}

/* The newest record of the device for the page at this place of this file, under whatever address. */
static uint64_t newest(const struct check *c, const struct check_memory *m, uint64_t offset, uint32_t id,
                       uint64_t *ret_iova)
{
    uint64_t best = 0;
    for (size_t i = 0; i < c->n_memories; i++) {
        const struct check_memory *other = &c->memories[i];
        if (other->dev != m->dev || other->ino != m->ino || offset < other->offset ||
            offset - other->offset >= other->size)
            continue;
        uint64_t iova = other->iova + (offset - other->offset), shift = other->offset - other->iova;
        for (size_t k = 0; k < c->n_journals; k++) {
            const struct journal_view *v = &c->journals[k].view;
            uint64_t sequence =
                v->header->device_id == id ? journal_view_newest(v, iova, c->by_offset ? &shift : NULL) : 0;
            if (sequence > best) {
                best = sequence;
                *ret_iova = iova;
            }
        }
    }
    return best;
}

static void first_and_last(const struct check *c, uint32_t id, uint64_t *ret_first, uint64_t *ret_last)
{
    *ret_first = UINT64_MAX;
    *ret_last = 0;
    for (size_t i = 0; i < c->n_journals; i++) {
        const struct journal_header *h = c->journals[i].view.header;
        if (h->device_id == id && h->first) {
            *ret_first = MIN(*ret_first, h->first);
            *ret_last = MAX(*ret_last, h->last);
        }
    }
}

static void judge(struct check *c, const struct check_memory *m, uint64_t page, const uint8_t *data,
                  uint32_t id, uint64_t first, uint64_t last)
{
    uint64_t iova = m->iova + page, expected_iova = iova;
    uint64_t expected = newest(c, m, m->offset + page, id, &expected_iova);
    struct record r;
    memcpy(&r, data + record_offset(id), sizeof r);
    bool sound = record_is_sound(&r);
    bool ours = sound && r.device_id == id;
    c->judged += expected != 0;
    if (c->killed && c->ahead == 0) {
        /* One write may have been on its way: whole in memory and not in the journal, or half in memory. */
        bool whole = ours && r.sequence == last + 1 && r.iova == iova;
        if (whole || (!sound && r.magic == RECORD_MAGIC && r.sequence == last + 1)) {
            c->ahead++;
            return;
        }
    }
    if (expected == 0) {
        if (ours && r.sequence >= first)
            report_bad(c, iova, id, 0, r.sequence, "a record that no journal knows");
    } else if (!sound) {
        report_bad(c, iova, id, expected, 0, r.magic == RECORD_MAGIC ? "wrong checksum" : "no record");
    } else if (!ours) {
        report_bad(c, iova, id, expected, r.sequence, "the record of another device");
    } else if (r.iova != expected_iova) {
        report_bad(c, iova, id, expected, r.sequence, "the record of another page");
    } else if (r.sequence != expected) {
        report_bad(c, iova, id, expected, r.sequence,
                   r.sequence < expected ? "an old record" : "newer than the journal");
    }
}

/* Each device once, though it may have several journals. */
static bool is_first_of_device(const struct check *c, size_t journal)
{
    for (size_t i = 0; i < journal; i++) {
        if (c->journals[i].view.header->device_id == c->journals[journal].view.header->device_id)
            return false;
    }
    return true;
}

static int check_memory(struct check *c, const struct check_memory *m, struct mig_error *err)
{
    _cleanup_free_ uint8_t *buf = malloc(CHUNK_BYTES);
    if (!buf)
        return mig_error_oom(err);
    for (uint64_t at = 0; at < m->size; at += CHUNK_BYTES) {
        uint64_t size = MIN(CHUNK_BYTES, m->size - at);
        int r = pread_full(m->fd, buf, size, m->offset + at);
        if (r < 0)
            return mig_error_set(err, MIG_ERR_FAILED, -r, "cannot read %s at 0x%llx: %s", m->path,
                                 (unsigned long long)(m->offset + at),
                                 r == -EPIPE ? "the file ends before" : strerror(-r));
        c->pages += size / DEVICE_PAGE_BYTES;
        for (size_t k = 0; k < c->n_journals; k++) {
            uint32_t id = c->journals[k].view.header->device_id;
            uint64_t first, last;
            if (!is_first_of_device(c, k))
                continue;
            first_and_last(c, id, &first, &last);
            for (uint64_t page = 0; page + DEVICE_PAGE_BYTES <= size; page += DEVICE_PAGE_BYTES)
                judge(c, m, at + page, buf + page, id, first, last);
        }
    }
    return 0;
}

static void check_chain(struct check *c)
{
    c->chain_right = true;
    for (size_t i = 0; i < c->n_journals && c->chain_right; i++) {
        const struct journal_header *h = c->journals[i].view.header, *before = NULL;
        for (size_t k = 0; k < i; k++) {
            const struct journal_header *other = c->journals[k].view.header;
            if (other->device_id == h->device_id && other->first)
                before = other;
        }
        if (!h->first) {
            c->chain_right = c->silent_ok;
            if (!c->silent_ok)
                snprintf(c->chain_why, sizeof c->chain_why, "device %u wrote nothing according to %.80s",
                         h->device_id, c->journals[i].path);
            continue;
        }
        /* A killed process may have written one page more than its journal says. */
        uint64_t slack = c->killed && before ? h->first - before->last - 1 : 0;
        if (before && h->first != before->last + 1 && !(c->killed && slack <= 1)) {
            c->chain_right = false;
            snprintf(c->chain_why, sizeof c->chain_why, "device %u ends at %llu and goes on at %llu (%.80s)",
                     h->device_id, (unsigned long long)before->last, (unsigned long long)h->first,
                     c->journals[i].path);
        }
    }
}

int check_run(struct check *c, struct mig_error *err)
{
    for (size_t i = 0; i < c->n_memories; i++) {
        int r = check_memory(c, &c->memories[i], err);
        if (r < 0)
            return r;
    }
    check_chain(c);
    return 0;
}

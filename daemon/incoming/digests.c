/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Strict verify, the destination's half: a digest of every page, region by region, in order.
 *
 * It is about what arrived. A VMM that loads its state may write guest memory, and that is no loss: QEMU's
 * option ROMs do; and QEMU sets MSR_KVM_WALL_CLOCK, upon which KVM writes the guest's wall clock
 * (kvm_put_msrs, kvm_write_wall_clock: so their sources say; a Linux guest under KVM had exactly one page
 * that differed). So where a VMM is about to load, the digests are taken before, and kept until the source
 * asks. Pages that come after that (the gate sent them again) are marked in their regions by who applies
 * them, and are looked at when the source asks.
 *
 * The worker; only `marks` of the regions and `digested` are other threads' too.
 */
#include "incoming/session.h"
#include "memory/pages.h"
#include <endian.h>
#include <string.h>

#define BATCH_PAGES 4096u

int session_note_digests(struct session *s, struct mig_error *err)
{
    const char *verify = json_text_or_null(s->hello, "verify");
    if (!verify || strcmp(verify, "strict") != 0)
        return 0;
    s->digests = calloc(s->nregions ? s->nregions : 1, sizeof *s->digests);
    if (!s->digests)
        return mig_error_oom(err);
    for (size_t i = 0; i < s->nregions; i++) {
        struct region *r = s->regions[i];
        region_take_marks(r);
        bitmap_clear_all(r->dirty);
        s->digests[i] = malloc(r->npages * sizeof **s->digests);
        if (!s->digests[i])
            return mig_error_oom(err);
    }
    atomic_store(&s->digested, true); /* whatever is applied during the sweep is looked at again */
    for (size_t i = 0; i < s->nregions; i++)
        pages_digest(s->regions[i], 0, s->regions[i]->npages, s->digests[i]);
    return 0;
}

void session_free_digests(struct session *s)
{
    for (size_t i = 0; s->digests && i < s->nregions; i++)
        free(s->digests[i]);
    free(s->digests);
    s->digests = NULL;
}

/* The noted digests, those of pages that came later anew; or all of them now, where none were noted. */
static void batch(struct session *s, size_t i, uint64_t first, uint64_t n, uint64_t *ret)
{
    struct region *r = s->regions[i];
    if (!s->digests) {
        pages_digest(r, first, n, ret);
        return;
    }
    memcpy(ret, s->digests[i] + first, n * sizeof *ret);
    uint64_t at, count;
    for (uint64_t from = first; bitmap_next_run(r->dirty, from, first + n, n, &at, &count); from = at + count)
        pages_digest(r, at, count, ret + (at - first));
}

int session_send_digests(struct session *s, struct mig_error *err)
{
    _cleanup_free_ uint64_t *digests = malloc(BATCH_PAGES * sizeof *digests);
    if (!digests)
        return mig_error_oom(err);
    for (uint32_t i = 0; i < s->nregions; i++) {
        struct region *reg = s->regions[i];
        if (s->digests)
            region_take_marks(reg);
        for (uint64_t first = 0; first < reg->npages; first += BATCH_PAGES) {
            uint64_t n = MIN(reg->npages - first, (uint64_t)BATCH_PAGES);
            batch(s, i, first, n, digests);
            for (uint64_t k = 0; k < n; k++)
                digests[k] = htole64(digests[k]);
            struct wire_header h = {.type = WIRE_DIGESTS,
                                    .region = i,
                                    .offset = first * REGION_PAGE_SIZE,
                                    .length = n * sizeof *digests};
            struct iovec iov = {digests, h.length};
            pthread_mutex_lock(&s->send_lock);
            int r = frame_send(&s->control_stream, &h, &iov, 1);
            pthread_mutex_unlock(&s->send_lock);
            if (r < 0)
                return mig_error_set(err, MIG_ERR_PEER_LOST, -r, "Sending digests to the source: %s",
                                     strerror(-r));
        }
    }
    return 0;
}

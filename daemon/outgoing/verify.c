/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The proof that no write was lost. Strict: before the decision, while nobody runs, the destination sends a
 * digest of every page that it has, and the source compares them with its own frozen memory. Post: after the
 * handover the source compares its frozen memory with the digests of what it last sent, page by page.
 *
 * A page that differs was written and not reported. It is named together with the trackers that should have
 * reported it: those that cover it.
 */
#include "base/clock.h"
#include "base/progress.h"
#include "memory/pages.h"
#include "outgoing/job.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#define VERIFY_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define BATCH_PAGES         4096u
#define NAMED_MAX           4u

struct comparison {
    uint64_t pages, bad;
    struct {
        const struct region *region;
        uint64_t page;
    } named[NAMED_MAX];
};

static void note_bad(struct comparison *c, const struct region *r, uint64_t page)
{
    if (c->bad < NAMED_MAX) {
        c->named[c->bad].region = r;
        c->named[c->bad].page = page;
    }
    c->bad++;
}

static void set_figures(struct migration_counters *counters, void *userdata)
{
    const struct comparison *c = userdata;
    counters->verify_pages = c->pages;
    counters->verify_bad_pages = c->bad;
}

/* Trackers that cover a page: those of devices that have it mapped, and those that are not about a device's
 * address space. */
static void responsible(struct job *j, const struct region *r, uint64_t page, char *buf, size_t size)
{
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < j->set.ntrackers && at < size - 1; i++) {
        const struct tracker *t = j->set.trackers[i];
        struct domain_device *d = domain_find_device(j->domain, t->device);
        if (d) {
            struct iova_mapping *maps;
            size_t nmaps;
            bool covers = false;
            if (iova_map_snapshot(d->device->map, &maps, &nmaps) < 0)
                continue;
            for (size_t k = 0; k < nmaps; k++)
                covers |= maps[k].region == r && page >= maps[k].offset_bytes >> REGION_PAGE_SHIFT &&
                          page < (maps[k].offset_bytes + maps[k].size_bytes) >> REGION_PAGE_SHIFT;
            iova_mappings_free(maps, nmaps);
            if (!covers)
                continue;
        }
        at += (size_t)snprintf(buf + at, size - at, "%s%s (%s of %s)", at ? ", " : "", t->name, t->ops->kind,
                               t->device);
        at = MIN(at, size - 1);
    }
    if (!at)
        snprintf(buf, size, "none: no tracker covers it");
}

static int judge(struct job *j, const struct comparison *c, const char *when, struct mig_error *err)
{
    migration_update(j->migration, set_figures, (void *)c);
    migration_set_proof(j->migration, NULL, c->bad ? "failed" : "proved");
    if (!c->bad)
        return 0;
    char where[200] = "", who[160];
    size_t at = 0;
    for (uint64_t i = 0; i < MIN(c->bad, (uint64_t)NAMED_MAX) && at < sizeof where - 1; i++) {
        char range[120];
        job_describe_pages(j, c->named[i].region, c->named[i].page, 1, NULL, range, sizeof range);
        at += (size_t)snprintf(where + at, sizeof where - at, "%s%s", i ? ", " : "", range);
        at = MIN(at, sizeof where - 1);
    }
    responsible(j, c->named[0].region, c->named[0].page, who, sizeof who);
    return mig_error_set(err, MIG_ERR_VERIFY, 0,
                         "%llu of %llu pages differ %s: %s%s. They should have been reported by %s",
                         (unsigned long long)c->bad, (unsigned long long)c->pages, when, where,
                         c->bad > NAMED_MAX ? ", ..." : "", who);
}

static int compare_frame(struct job *j, const struct wire_header *h, uint64_t *peer, uint64_t *own,
                         uint64_t *next_page, uint32_t *region, struct comparison *c, struct mig_error *err)
{
    uint64_t n = h->length / sizeof *peer, first = h->offset / REGION_PAGE_SIZE;
    /* In order and without gaps: a destination cannot leave out a page. */
    if (*region < j->set.nregions && *next_page == j->regions[*region]->npages) {
        (*region)++;
        *next_page = 0;
    }
    if (h->region != *region || *region >= j->set.nregions || first != *next_page ||
        h->offset % REGION_PAGE_SIZE || h->length % sizeof *peer || n == 0 || n > BATCH_PAGES ||
        n > j->regions[*region]->npages - first)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s sent digests out of order", j->destination);
    struct iovec iov = {peer, h->length};
    int r = frame_recv_payload(&j->control_stream, h, &iov, 1, err);
    if (r < 0)
        return r;
    const struct region *reg = j->regions[*region];
    pages_digest(reg, first, n, own);
    for (uint64_t i = 0; i < n; i++)
        if (le64toh(peer[i]) != own[i])
            note_bad(c, reg, first + i);
    c->pages += n;
    *next_page = first + n;
    return 0;
}

int job_verify_strict(struct job *j, struct mig_error *err)
{
    migration_set_phase(j->migration, MIG_PHASE_VERIFY);
    _cleanup_free_ uint64_t *peer = malloc(BATCH_PAGES * sizeof *peer),
                            *own = malloc(BATCH_PAGES * sizeof *own);
    if (!peer || !own)
        return mig_error_oom(err);
    int r = dialogue_send(&j->control_stream, "verify", NULL, err);
    if (r < 0)
        return job_explain_break(j, r, err);
    static const char *const names[] = {"verified", NULL};
    const struct dialogue_expect expect = {.names = names,
                                           .frame_types = 1u << WIRE_DIGESTS,
                                           .timeout_usec = VERIFY_TIMEOUT_USEC,
                                           .what = "the digests of the destination"};
    struct comparison c = {0};
    uint32_t region = 0;
    uint64_t next_page = 0, total = 0;
    for (size_t i = 0; i < j->set.nregions; i++)
        total += j->regions[i]->npages;
    for (;;) {
        struct wire_header h;
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name;
        r = dialogue_receive(&j->control_stream, &expect, &name, &o, &h, err);
        if (r < 0)
            return r;
        if (name == 0)
            break;
        r = compare_frame(j, &h, peer, own, &next_page, &region, &c, err);
        if (r < 0)
            return r;
    }
    if (c.pages != total)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "%s sent digests of %llu pages, not of all %llu",
                             j->destination, (unsigned long long)c.pages, (unsigned long long)total);
    return judge(j, &c, "between the source and the destination", err);
}

int job_verify_post(struct job *j, struct mig_error *err)
{
    _cleanup_free_ uint64_t *own = malloc(BATCH_PAGES * sizeof *own);
    if (!own)
        return mig_error_oom(err);
    struct comparison c = {0};
    for (size_t i = 0; i < j->set.nregions; i++) {
        const struct region *r = j->regions[i];
        for (uint64_t first = 0; first < r->npages; first += BATCH_PAGES) {
            uint64_t n = MIN(r->npages - first, (uint64_t)BATCH_PAGES);
            if (poll(&(struct pollfd){.fd = j->cancel_fd, .events = POLLIN}, 1, 0) > 0)
                return mig_error_set(err, MIG_ERR_CANCELLED, 0, "The proof was cut short: migd ended");
            pages_digest(r, first, n, own);
            progress_beat();
            for (uint64_t k = 0; k < n; k++)
                if (own[k] != j->sent_digests[i][first + k])
                    note_bad(&c, r, first + k);
            c.pages += n;
        }
    }
    return judge(j, &c, "between the frozen source and what was sent", err);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate (R5): after everything was sent, every tracker is read once more. What is dirty now was written by
 * a device that should be quiet. Where a tracker cannot answer, the pages are compared with the digests of
 * what was sent.
 */
#include "base/log.h"
#include "migration/journal.h"
#include "memory/pages.h"
#include "outgoing/job.h"
#include "vfio/container.h"
#include <stdio.h>
#include <string.h>

#define DIGEST_BATCH_PAGES 1024u

static void add_gate_pages(struct migration_counters *c, void *userdata)
{
    c->gate_pages += *(const uint64_t *)userdata;
}

static void add_gate_resend(struct migration_counters *c, void *userdata)
{
    c->gate_resends++;
}

/* Marks in the dirty bitmap every page whose content is not what was sent. The trackers knew nothing: the
 * range has no tracker. A page without a digest was last sent before any tracker was known to be blind, so
 * none of these covers it. */
static int compare_digests(struct job *j, struct gate_finding *f, struct mig_error *err)
{
    _cleanup_free_ uint64_t *now = malloc(DIGEST_BATCH_PAGES * sizeof *now);
    if (!now)
        return mig_error_oom(err);
    for (size_t i = 0; i < j->set.nregions; i++) {
        struct region *r = j->regions[i];
        struct gate_range *open = NULL;
        uint64_t open_end = UINT64_MAX;
        for (uint64_t first = 0; j->sent_digests[i] && first < r->npages; first += DIGEST_BATCH_PAGES) {
            uint64_t n = MIN(r->npages - first, (uint64_t)DIGEST_BATCH_PAGES);
            pages_digest(r, first, n, now);
            for (uint64_t k = 0; k < n; k++) {
                uint64_t page = first + k;
                uint64_t sent = j->sent_digests[i][page];
                if (sent == 0 || now[k] == sent || bitmap_test(r->dirty, page))
                    continue;
                bitmap_set_range(r->dirty, page, 1);
                f->pages++;
                if (page == open_end) {
                    if (open)
                        open->npages++;
                } else {
                    open = f->ranges < GATE_RANGES_MAX ? &f->range[f->ranges] : NULL;
                    if (open)
                        *open = (struct gate_range){.region = r, .first_page = page, .npages = 1};
                    f->ranges++;
                }
                open_end = page + 1;
            }
        }
    }
    return 0;
}

/* Who a tracker speaks of: a container's bits are those of any device in it. */
static void describe_writer(const struct tracker *t, char *buf, size_t size)
{
    bool container = t && (strcmp(t->ops->kind, "type1") == 0 || strcmp(t->ops->kind, "iommufd") == 0);
    snprintf(buf, size, "%s%s", container ? "a device in container " : "device ", t ? t->device : "unknown");
}

static int refuse(struct job *j, const struct gate_finding *f, struct mig_error *err)
{
    char where[300] = "";
    size_t at = 0;
    for (uint64_t i = 0; i < MIN(f->ranges, (uint64_t)GATE_RANGES_MAX) && at < sizeof where - 1; i++) {
        char range[160];
        const struct tracker *by = f->range[i].tracker;
        job_describe_pages(j, f->range[i].region, f->range[i].first_page, f->range[i].npages,
                           by ? by->device : NULL, range, sizeof range);
        at += (size_t)snprintf(where + at, sizeof where - at, "%s%s", i ? ", " : "", range);
        at = MIN(at, sizeof where - 1);
    }
    const struct tracker *t = f->range[0].tracker;
    char who[160];
    describe_writer(t, who, sizeof who);
    mig_error_set(err, MIG_ERR_GATE, 0,
                  "%llu pages were written after everything had been stopped, by %s (tracker %s%s%s): %s",
                  (unsigned long long)f->pages, who,
                  t                  ? t->name
                  : f->needs_digests ? "none, found by digests"
                                     : "none, DMA by message or an unmap",
                  t ? ", " : "", t ? t->ops->kind : "", where);
    mig_error_hint(err, "The device does not obey STOP; the source goes on. Report it to the device's "
                        "vendor, or allow --gate resend or --gate off at your own risk");
    return -err->err;
}

static int look(struct job *j, struct gate_finding *f, struct mig_error *err)
{
    int r = harvest_gate(&j->set, f, err);
    if (r < 0)
        return mig_error_wrap(err, "The gate");
    return f->needs_digests ? compare_digests(j, f, err) : 0;
}

int job_gate(struct job *j, struct mig_error *err)
{
    struct migration_options o;
    migration_get_options(j->migration, &o);
    if (o.gate == GATE_OFF) {
        migration_set_proof(j->migration, "off", NULL);
        return 0;
    }
    migration_set_phase(j->migration, MIG_PHASE_GATE);
    struct mig_error own;
    for (unsigned tries = 0;; tries++) {
        struct gate_finding f = {0};
        int r = look(j, &f, err);
        if (r < 0)
            return r;
        job_publish_trackers(j);
        if (f.pages == 0) {
            migration_set_proof(j->migration, f.needs_digests ? "clean-by-digests" : "clean", NULL);
            return 0;
        }
        migration_update(j->migration, add_gate_pages, &f.pages);
        migration_set_proof(j->migration, "dirty", NULL);
        if (o.gate == GATE_STRICT || tries >= o.gate_resends)
            return refuse(j, &f, err ? err : &own);
        migration_update(j->migration, add_gate_resend, NULL);
        r = harvest_clear_gate(&j->set, err);
        if (r < 0)
            return mig_error_wrap(err, "The gate");
        j->round++;
        migration_set_round(j->migration, j->round);
        struct page_round sent;
        r = job_send_round(j, true, &sent, err);
        if (r < 0)
            return r;
    }
}

uint64_t job_gate_late(struct job *j, char *who, size_t size)
{
    struct gate_finding f = {0};
    struct migration_options o;
    migration_get_options(j->migration, &o);
    if (o.gate == GATE_OFF || harvest_gate(&j->set, &f, NULL) < 0 || f.pages == 0)
        return 0;
    describe_writer(f.range[0].tracker, who, size);
    migration_update(j->migration, add_gate_pages, &f.pages);
    migration_set_proof(j->migration, "late", NULL);
    job_publish_trackers(j);
    const struct log_fields fields = migration_log_fields(j->migration, MESSAGE_GATE_LATE);
    log_write(LOG_WARNING, &fields,
              "%llu pages were written by %s after everything was sent: those writes are lost",
              (unsigned long long)f.pages, who);
    return f.pages;
}

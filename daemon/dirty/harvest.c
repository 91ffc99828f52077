/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All trackers of a domain into the regions' dirty bitmaps. Worker thread.
 *
 * A tracker that fails does not keep the others from being read: they clear what they report, so whatever the
 * caller does with the error, no bit that was taken out of a tracker is lost.
 */
#include "dirty/harvest.h"
#include "base/clock.h"
#include "base/log.h"

struct dirty_sink {
    struct tracker *tracker;      /* NULL while marks are taken */
    struct gate_finding *finding; /* only while the gate asks */
    uint64_t reported, fresh;
};

/* Reports come in order, so a range that goes on where the last one ended is the same range. */
static void note_range(struct dirty_sink *s, struct region *r, uint64_t first, uint64_t count)
{
    struct gate_finding *f = s->finding;
    if (f->ranges && f->ranges <= GATE_RANGES_MAX) {
        struct gate_range *last = &f->range[f->ranges - 1];
        if (last->tracker == s->tracker && last->region == r && last->first_page + last->npages == first) {
            last->npages += count;
            return;
        }
    }
    if (f->ranges < GATE_RANGES_MAX)
        f->range[f->ranges] = (struct gate_range){s->tracker, r, first, count};
    f->ranges++;
}

void dirty_sink_range(struct dirty_sink *s, struct region *r, uint64_t first_page, uint64_t count)
{
    if (first_page >= r->npages || count == 0)
        return;
    count = MIN(count, r->npages - first_page);
    s->reported += count;
    s->fresh += bitmap_set_range_counted(r->dirty, first_page, count);
    if (s->finding)
        note_range(s, r, first_page, count);
}

void dirty_sink_words(struct dirty_sink *s, struct region *r, uint64_t first_page, const uint64_t *words,
                      uint64_t nbits)
{
    if (first_page >= r->npages || nbits == 0)
        return;
    nbits = MIN(nbits, r->npages - first_page);
    if (s->finding) {
        const struct bitmap bits = bitmap_view(words, nbits);
        bitmap_for_each_run (&bits, first, count)
            dirty_sink_range(s, r, first_page + first, count);
        return;
    }
    uint64_t set = 0, fresh = 0;
    bitmap_or_words(r->dirty, first_page, words, nbits, &set, &fresh);
    s->reported += set;
    s->fresh += fresh;
}

static void reset_counters(struct tracker_counters *c)
{
    atomic_store(&c->harvests, 0);
    atomic_store(&c->pages_reported, 0);
    atomic_store(&c->pages_first, 0);
    atomic_store(&c->gate_pages, 0);
    atomic_store(&c->harvest_usec, 0);
}

int harvest_start(const struct harvest_set *set, struct mig_error *err)
{
    for (size_t i = 0; i < set->ntrackers; i++) {
        struct tracker *t = set->trackers[i];
        reset_counters(&t->counters);
        int rc = t->ops->start(t, err);
        if (rc < 0) {
            while (i-- > 0)
                set->trackers[i]->ops->stop(set->trackers[i]);
            return mig_error_is_set(err) ? mig_error_wrap(err, "starting tracker %s", t->name) : rc;
        }
    }
    return 0;
}

void harvest_stop(const struct harvest_set *set)
{
    for (size_t i = 0; i < set->ntrackers; i++)
        set->trackers[i]->ops->stop(set->trackers[i]);
}

enum question { ASK_RUNNING, ASK_LAST, ASK_PEEK };

/* One tracker into the sink. The first error is kept. */
static int ask(struct tracker *t, enum question how, struct dirty_sink *sink, int first_rc,
               struct mig_error *err)
{
    uint64_t begun = now_usec();
    struct mig_error e = MIG_ERROR_INIT;
    int rc = how == ASK_LAST && t->ops->harvest_last ? t->ops->harvest_last(t, sink, &e)
                                                     : t->ops->harvest(t, how == ASK_PEEK, sink, &e);
    atomic_fetch_add(&t->counters.harvest_usec, now_usec() - begun);
    if (rc >= 0)
        return first_rc;
    if (!mig_error_is_set(&e))
        mig_error_set(&e, MIG_ERR_TRACKER, -rc, "tracker %s cannot be read any more", t->name);
    if (first_rc < 0) {
        log_mig_error(LOG_ERR, NULL, &e, "another tracker failed too");
        return first_rc;
    }
    if (err)
        *err = e;
    return -e.err;
}

static int run(const struct harvest_set *set, enum question how, struct harvest_result *ret,
               struct mig_error *err)
{
    struct harvest_result result = {0};
    uint64_t begun = now_usec();
    int rc = 0;
    for (size_t i = 0; i < set->ntrackers; i++) {
        struct tracker *t = set->trackers[i];
        struct dirty_sink sink = {.tracker = t};
        rc = ask(t, how, &sink, rc, err);
        atomic_fetch_add(&t->counters.harvests, 1);
        atomic_fetch_add(&t->counters.pages_reported, sink.reported);
        atomic_fetch_add(&t->counters.pages_first, sink.fresh);
        result.pages_reported += sink.reported;
        result.pages_new += sink.fresh;
    }
    /* Last, because a tracker may leave marks, and because an unmap beside the harvest leaves its last bits
     * here. */
    for (size_t i = 0; i < set->nregions; i++)
        result.pages_new += region_take_marks(set->regions[i]);
    result.usec = now_usec() - begun;
    if (ret)
        *ret = result;
    return rc;
}

int harvest_run(const struct harvest_set *set, struct harvest_result *ret, struct mig_error *err)
{
    return run(set, ASK_RUNNING, ret, err);
}

int harvest_run_last(const struct harvest_set *set, struct harvest_result *ret, struct mig_error *err)
{
    return run(set, ASK_LAST, ret, err);
}

uint64_t harvest_pending_pages(const struct harvest_set *set)
{
    uint64_t n = 0;
    for (size_t i = 0; i < set->nregions; i++)
        n += bitmap_count(set->regions[i]->dirty);
    return n;
}

/* What lies in the dirty bitmaps after the marks were taken was left by no tracker. */
static void gate_marks(const struct harvest_set *set, struct gate_finding *f)
{
    struct dirty_sink sink = {.finding = f};
    for (size_t i = 0; i < set->nregions; i++) {
        struct region *r = set->regions[i];
        region_take_marks(r);
        bitmap_for_each_run (r->dirty, first, count) {
            note_range(&sink, r, first, count);
            f->pages += count;
        }
    }
}

int harvest_gate(const struct harvest_set *set, struct gate_finding *ret, struct mig_error *err)
{
    struct gate_finding f = {0};
    int rc = 0;
    gate_marks(set, &f);
    for (size_t i = 0; i < set->ntrackers; i++) {
        struct tracker *t = set->trackers[i];
        if (tracker_is_blind(t)) {
            f.needs_digests = true;
            continue;
        }
        struct dirty_sink sink = {.tracker = t, .finding = &f};
        rc = ask(t, ASK_PEEK, &sink, rc, err);
        atomic_fetch_add(&t->counters.gate_pages, sink.reported);
        f.pages += sink.fresh;
    }
    /* A tracker that ran out of memory said "everything" with marks. */
    for (size_t i = 0; i < set->nregions; i++)
        f.pages += region_take_marks(set->regions[i]);
    *ret = f;
    return rc;
}

int harvest_clear_gate(const struct harvest_set *set, struct mig_error *err)
{
    int rc = 0;
    for (size_t i = 0; i < set->ntrackers; i++) {
        struct dirty_sink sink = {.tracker = set->trackers[i]};
        if (!tracker_is_blind(set->trackers[i]))
            rc = ask(set->trackers[i], ASK_RUNNING, &sink, rc, err);
    }
    return rc;
}

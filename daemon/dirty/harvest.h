/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A harvest: one read-and-clear over all trackers of a domain, OR-ed into the regions' dirty bitmaps (R3),
 * together with the marks that other threads left. Runs on the worker. Also the gate's reading of the
 * trackers (R5).
 */
#pragma once
#include "dirty/tracker.h"

struct harvest_set { /* borrowed from the domain for the length of a migration */
    struct tracker *const *trackers;
    size_t ntrackers;
    struct region *const *regions;
    size_t nregions;
};

struct harvest_result {
    uint64_t pages_reported; /* sum over trackers */
    uint64_t pages_new;      /* pages newly set in the dirty bitmaps, marks included */
    uint64_t usec;
};

/* Starts all trackers; on failure those that were started are stopped again. */
int harvest_start(const struct harvest_set *set, struct mig_error *err);
void harvest_stop(const struct harvest_set *set);
/* A tracker whose report fails cannot be trusted: all pages it covers are set dirty and the error is returned
 * only if the tracker says that it is gone for good. */
int harvest_run(const struct harvest_set *set, struct harvest_result *ret, struct mig_error *err);
/* The same when the workload stands still: what comes after it is for the gate. */
int harvest_run_last(const struct harvest_set *set, struct harvest_result *ret, struct mig_error *err);
/* Pages in the dirty bitmaps now. */
uint64_t harvest_pending_pages(const struct harvest_set *set);

#define GATE_RANGES_MAX 16
struct gate_range {
    struct tracker *tracker; /* NULL: a mark, that is a DMA write by message or the last bits of an unmap */
    struct region *region;
    uint64_t first_page, npages;
};
struct gate_finding {
    uint64_t pages;  /* all pages found */
    uint64_t ranges; /* all ranges found; the first GATE_RANGES_MAX are listed */
    struct gate_range range[GATE_RANGES_MAX];
    bool needs_digests; /* a tracker cannot answer: compare digests too */
};
/* The trackers once more, without clearing where they can; what is found is also set in the dirty bitmaps, so
 * that `resend` can send it. Expects the dirty bitmaps to be empty (all was sent). */
int harvest_gate(const struct harvest_set *set, struct gate_finding *ret, struct mig_error *err);
/* For `resend`, after the gate found something and before the pages are read: takes it out of the trackers
 * that the gate asks and may not have cleared, so that the next question does not find it again. */
int harvest_clear_gate(const struct harvest_set *set, struct mig_error *err);

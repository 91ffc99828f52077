/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Written pages by their digests: needs nothing of the workload, the kernel or a device, and finds what any
 * of them wrote. The price is that each harvest reads all of the region, the last one while the workload
 * stands still.
 */
#include "dirty/digest-sweep.h"

struct tracker_digests {
    struct tracker base;
    struct region *region;
};

static int digests_start(struct tracker *t, struct mig_error *err)
{
    t->started = true; /* round 0 sends everything, and with it the digests are there */
    return 0;
}

static void digests_stop(struct tracker *t)
{
    t->started = false;
}

static int digests_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct region *r = CONTAINER_OF(t, struct tracker_digests, base)->region;
    digest_sweep(r, 0, r->npages, sink);
    return 0;
}

static bool digests_covers(const struct tracker *t, const struct region *r)
{
    return CONTAINER_OF(t, const struct tracker_digests, base)->region == r;
}

static void digests_destroy(struct tracker *t)
{
    struct tracker_digests *d = CONTAINER_OF(t, struct tracker_digests, base);
    region_unref(d->region);
    free(d);
}

static const struct tracker_ops digests_ops = {
    .kind = "digests",
    .answers_gate = true,
    .by_digests = true,
    .start = digests_start,
    .stop = digests_stop,
    .harvest = digests_harvest,
    .covers = digests_covers,
    .destroy = digests_destroy,
};

int tracker_new_digests(struct tracker **ret, const char *name, struct region *region, struct mig_error *err)
{
    struct tracker_digests *d = calloc(1, sizeof *d);
    if (!d)
        return mig_error_oom(err);
    int rc = tracker_init(&d->base, &digests_ops, name, "cpu", err);
    if (rc < 0) {
        free(d);
        return rc;
    }
    d->region = region_ref(region);
    d->base.granularity_bytes = REGION_PAGE_SIZE;
    *ret = &d->base;
    return 0;
}

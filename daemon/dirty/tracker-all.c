/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tracker for writers that nothing watches: it says everything, always. A migration with it moves all of
 * these regions in the blackout again, and its gate compares digests.
 */
#include "dirty/tracker.h"

struct tracker_all {
    struct tracker base;
    size_t count;
    struct region *regions[];
};

static int all_start(struct tracker *t, struct mig_error *err)
{
    t->started = true;
    return 0;
}

static void all_stop(struct tracker *t)
{
    t->started = false;
}

static int all_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct tracker_all *a = CONTAINER_OF(t, struct tracker_all, base);
    for (size_t i = 0; i < a->count; i++)
        dirty_sink_range(sink, a->regions[i], 0, a->regions[i]->npages);
    return 0;
}

static bool all_covers(const struct tracker *t, const struct region *r)
{
    const struct tracker_all *a = CONTAINER_OF(t, struct tracker_all, base);
    for (size_t i = 0; i < a->count; i++)
        if (a->regions[i] == r)
            return true;
    return false;
}

static void all_destroy(struct tracker *t)
{
    struct tracker_all *a = CONTAINER_OF(t, struct tracker_all, base);
    for (size_t i = 0; i < a->count; i++)
        region_unref(a->regions[i]);
    free(a);
}

static const struct tracker_ops all_ops = {
    .kind = "all",
    .answers_gate = false,
    .start = all_start,
    .stop = all_stop,
    .harvest = all_harvest,
    .covers = all_covers,
    .destroy = all_destroy,
};

int tracker_new_all(struct tracker **ret, const char *name, const char *device, struct region *const *regions,
                    size_t count, struct mig_error *err)
{
    struct tracker_all *a = calloc(1, sizeof *a + count * sizeof a->regions[0]);
    if (!a)
        return mig_error_oom(err);
    int rc = tracker_init(&a->base, &all_ops, name, device, err);
    if (rc < 0) {
        free(a);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        a->regions[a->count++] = region_ref(regions[i]);
    *ret = &a->base;
    return 0;
}

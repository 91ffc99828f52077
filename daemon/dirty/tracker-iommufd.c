/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The IOMMU's own dirty bits, by iommufd. That tracking really is on is the container's business. Worker
 * thread. */
#include "dirty/granularity.h"
#include "dirty/report.h"
#include "dirty/tracker-container.h"

static void expect_entries(struct tracker_container *tc)
{
    struct iova_mapping *all;
    size_t n;
    tc->granularity = (struct granularity){0};
    if (container_maps_small(tc->container) || iova_map_snapshot(tc->container->map, &all, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        granularity_expect(&tc->granularity, &all[i]);
    iova_mappings_free(all, n);
}

static int iommufd_begin(struct tracker *t, struct mig_error *err)
{
    struct tracker_container *tc = tracker_container_of(t);
    if (t->started)
        return 0;
    int r = container_start(tc->container, err);
    if (r < 0)
        return r;
    expect_entries(tc);
    t->granularity_bytes = granularity_bytes(&tc->granularity);
    t->started = true;
    return 0;
}

struct reading {
    struct tracker_container *tracker;
    struct dirty_sink *sink;
};

static void take(void *userdata, const struct iova_mapping *m, uint64_t page_bytes, const uint64_t *words,
                 uint64_t nbits)
{
    struct reading *now = userdata;
    report_mapping_bits(now->sink, m, page_bytes, words, nbits);
    granularity_note(&now->tracker->granularity, m, words, nbits);
}

static int iommufd_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct tracker_container *tc = tracker_container_of(t);
    struct reading now = {tc, sink};
    struct mig_error e = MIG_ERROR_INIT;
    int r = container_report(tc->container, false, take, &now, &e);
    t->granularity_bytes = granularity_bytes(&tc->granularity);
    return r >= 0 ? 0 : tracker_container_failed(t, peek, sink, r, &e, err);
}

static const struct tracker_ops iommufd_tracker_ops = {
    .kind = "iommufd",
    .answers_gate = true,
    .start = iommufd_begin,
    .stop = tracker_container_stop,
    .harvest = iommufd_harvest,
    .destroy = tracker_container_destroy,
};

int tracker_new_iommufd(struct tracker **ret, struct container *container, struct mig_error *err)
{
    return tracker_container_new(ret, &iommufd_tracker_ops, "iommufd", container, err);
}

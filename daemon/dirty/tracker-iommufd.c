/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The IOMMU's own dirty bits, by iommufd. That tracking really is on is the container's business. Worker
 * thread. */
#include "dirty/report.h"
#include "dirty/tracker-container.h"

static int iommufd_begin(struct tracker *t, struct mig_error *err)
{
    int r = t->started ? 0 : container_start(tracker_container_of(t)->container, err);
    t->started = r == 0;
    return r;
}

static void to_sink(void *userdata, const struct iova_mapping *m, uint64_t page_bytes, const uint64_t *words,
                    uint64_t nbits)
{
    report_mapping_bits(userdata, m, page_bytes, words, nbits);
}

static int iommufd_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct mig_error e = MIG_ERROR_INIT;
    int r = container_report(tracker_container_of(t)->container, false, to_sink, sink, &e);
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

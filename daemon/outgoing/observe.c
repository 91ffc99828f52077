/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a job sees of its trackers and devices between rounds, for whoever watches it. */
#include "outgoing/job.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void set_granularity(struct migration_counters *c, void *userdata)
{
    c->granularity_bytes = *(const uint64_t *)userdata;
}

void job_publish_trackers(struct job *j)
{
    uint64_t coarsest = 0;
    _cleanup_free_ struct migration_tracker_status *t =
        calloc(j->set.ntrackers ? j->set.ntrackers : 1, sizeof *t);
    if (!t)
        return;
    for (size_t i = 0; i < j->set.ntrackers; i++) {
        const struct tracker *from = j->set.trackers[i];
        snprintf(t[i].name, sizeof t[i].name, "%s", from->name);
        snprintf(t[i].kind, sizeof t[i].kind, "%s", from->ops->kind);
        snprintf(t[i].device, sizeof t[i].device, "%s", from->device);
        t[i].harvests = from->counters.harvests;
        t[i].pages_reported = from->counters.pages_reported;
        t[i].pages_first = from->counters.pages_first;
        t[i].gate_pages = from->counters.gate_pages;
        t[i].granularity_bytes = from->granularity_bytes;
        t[i].blind = tracker_is_blind(from);
        coarsest = MAX(coarsest, t[i].granularity_bytes);
    }
    migration_update(j->migration, set_granularity, &coarsest);
    migration_set_trackers(j->migration, t, j->set.ntrackers);
}

void job_name_blind(struct job *j, char *buf, size_t size)
{
    size_t at = 0, names = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < j->set.ntrackers && at + TRACKER_NAME_MAX + 48 < size; i++)
        if (tracker_is_blind(j->set.trackers[i]))
            at += (size_t)snprintf(buf + at, size - at, "%s%s", names++ ? ", " : " (tracker ",
                                   j->set.trackers[i]->name);
    if (names)
        snprintf(buf + at, size - at, " cannot tell what is written)");
}

/* A kernel device and its container answer on after the process that holds them has died; what they say is of
 * no workload any more. */
int job_check_gone(struct job *j, struct mig_error *err)
{
    for (size_t i = 0; i < j->domain->ndevices; i++) {
        struct device *d = j->domain->devices[i].device;
        struct pollfd p = {.fd = d->ops->gone_fd(d), .events = POLLIN};
        if (p.fd < 0 || poll(&p, 1, 0) <= 0)
            continue;
        bool kernel = strcmp(d->ops->info(d)->kind, "vfio") == 0;
        return mig_error_set(err, MIG_ERR_DEVICE_GONE, 0, "device %s is gone: %s", d->name,
                             kernel ? "the process that holds it has ended"
                                    : "its server ended the connection");
    }
    return 0;
}

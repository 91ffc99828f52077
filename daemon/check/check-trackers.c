/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trackers: who watches the CPUs, who says everything, and whether each can be started. */
#include "base/format.h"
#include "check/check-private.h"
#include "domain/kernel-devices.h"
#include "domain/vmm-log.h"
#include "vfio/container.h"
#include <string.h>

/* Once the memory is mapped; the first time takes three times as long, and is not in the blackout. */
#define DIGEST_BYTES_PER_USEC 10000

static bool is_kind(const struct tracker *t, const char *kind)
{
    return strcmp(t->ops->kind, kind) == 0;
}

static bool sees_dma_only(const struct tracker *t)
{
    return is_kind(t, "device") || is_kind(t, "type1") || is_kind(t, "iommufd");
}

static bool covers(const struct tracker *t, const struct region *r)
{
    return t->ops->covers && t->ops->covers(t, r);
}

static bool cpu_is_tracked(const struct check *c, const struct region *region)
{
    for (size_t i = 0; i < c->domain->ntrackers; i++)
        if (covers(c->domain->trackers[i], region))
            return true;
    return false;
}

void check_tracker_facts(struct check *c)
{
    const struct domain *d = c->domain;
    for (size_t i = 0; i < c->nmemory; i++) {
        const struct region *r = c->memory[i].region;
        if (r->writable && strcmp(d->controller->ops->kind, "none") != 0 && !cpu_is_tracked(c, r))
            TELL(c, FINDING_CPU_UNTRACKED, r->name, NULL, "Nothing tracks what the CPUs write to memory %s",
                 r->name);
    }
    for (size_t i = 0; i < d->ntrackers; i++) {
        const struct tracker *t = d->trackers[i];
        uint64_t bytes = 0, read_bytes = 0;
        for (size_t k = 0; t->ops->by_digests && k < c->nmemory; k++)
            if (covers(t, c->memory[k].region))
                read_bytes += c->memory[k].region->size_bytes;
        if (read_bytes)
            TELL(c, FINDING_TRACKER_READS_MEMORY, t->name, NULL,
                 "Tracker %s (%s) compares %s of memory with digests of what was sent: the blackout is about "
                 "%s longer%s",
                 t->name, t->ops->kind, FORMAT_BYTES(read_bytes),
                 FORMAT_USEC(read_bytes / DIGEST_BYTES_PER_USEC),
                 is_kind(t, "digests") ? ", and so is each round" : "");
        for (size_t k = 0; is_kind(t, "all") && k < c->nmemory; k++)
            if (covers(t, c->memory[k].region))
                bytes += c->memory[k].region->size_bytes;
        if (bytes)
            TELL(c, FINDING_TRACKER_ALL, t->name, NULL,
                 "Tracker %s cannot say what %s writes: up to %s are sent again in the blackout, which takes "
                 "%s at %s%s",
                 t->name, t->device, FORMAT_BYTES(bytes), FORMAT_USEC(check_usec_for(c, bytes)),
                 FORMAT_RATE(check_bandwidth(c)), check_bandwidth_note(c));
    }
}

/* ---- starting them ---- */

static bool writer_is_dead(const struct check *c, const struct tracker *t)
{
    for (size_t i = 0; i < c->domain->ndevices; i++)
        if (c->dead[i] && strcmp(c->domain->devices[i].device->name, t->device) == 0)
            return true;
    struct container *container =
        sees_dma_only(t) && !is_kind(t, "device") ? domain_find_container(c->domain, t->name) : NULL;
    return container && container_is_gone(container);
}

static void tell_refused(struct check *c, const struct tracker *t, const struct mig_error *e)
{
    if (is_kind(t, "device"))
        TELL_ERROR(c, FINDING_DEVICE_LOG_REFUSED, t->device, e, "Starting tracker %s", t->name);
    else if (sees_dma_only(t))
        TELL_ERROR(c, FINDING_CONTAINER_TRACKING_REFUSED, t->name, e, "Starting tracker %s", t->name);
    else
        TELL_ERROR(c, FINDING_TRACKER_REFUSED, t->name, e, "Starting tracker %s", t->name);
}

static void mark_unknown(struct check *c, size_t i)
{
    const struct tracker *t = c->domain->trackers[i];
    struct container *container = is_kind(t, "type1") ? domain_find_container(c->domain, t->name) : NULL;
    for (size_t k = 0; k < c->nmemory; k++)
        c->unknown[k] |=
            container ? iova_map_has(container->map, c->memory[k].region) : covers(t, c->memory[k].region);
}

static void start_trackers(struct check *c)
{
    const struct domain *d = c->domain;
    for (size_t i = 0; i < d->ntrackers; i++) {
        struct tracker *t = d->trackers[i];
        struct mig_error e = MIG_ERROR_INIT;
        if (writer_is_dead(c, t))
            continue;
        int r = t->ops->start(t, &e);
        if (r < 0) {
            if (!mig_error_is_set(&e))
                mig_error_set(&e, MIG_ERR_TRACKER, -r, "%s", strerror(-r));
            tell_refused(c, t, &e);
            continue;
        }
        if (tracker_is_blind(t))
            mark_unknown(c, i);
        if (tracker_is_blind(t) && t->ops->answers_gate)
            TELL(c, FINDING_CONTAINER_BLIND, t->name, NULL,
                 "Container %s reports all its memory as written at every read: the migration cannot "
                 "converge, and everything would be sent in the blackout",
                 t->name);
        if (t->granularity_bytes > REGION_PAGE_SIZE)
            TELL(c, FINDING_TRACKER_COARSE, t->name, NULL, "Tracker %s reports in units of %s", t->name,
                 FORMAT_BYTES(t->granularity_bytes));
    }
}

void check_tracker_asks(struct check *c)
{
    const struct domain *d = c->domain;
    struct mig_error e = MIG_ERROR_INIT;
    if (!c->controller_dead && vmm_log_start(c->domain, &e) < 0)
        TELL_ERROR(c, FINDING_CONTROLLER_LOG_REFUSED, d->name, &e,
                   "Starting the log of what the CPUs of %s write", d->name);
    start_trackers(c);
    if (c->keep_tracking)
        return;
    for (size_t i = 0; i < d->ntrackers; i++)
        d->trackers[i]->ops->stop(d->trackers[i]);
    if (!c->controller_dead)
        vmm_log_stop(c->domain);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trackers of a domain. Main thread. */
#include "domain/structure.h"
#include <json-c/json.h>
#include <string.h>

int structure_refuse_twice(const struct domain *d, const char *what, const char *name, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_EXISTS, 0, "domain %s already has a %s named %s", d->name, what, name);
}

int structure_refuse_more(const struct domain *d, const char *what, unsigned max, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_LIMIT, 0, "domain %s has %u %s already, which is the limit", d->name,
                         max, what);
}

int structure_append_tracker(struct domain *d, struct tracker *t, struct json_object *saved,
                             struct mig_error *err)
{
    struct tracker **trackers = reallocarray(d->trackers, d->ntrackers + 1, sizeof *trackers);
    if (trackers)
        d->trackers = trackers;
    struct json_object **all_saved = reallocarray(d->tracker_saved, d->ntrackers + 1, sizeof *all_saved);
    if (all_saved)
        d->tracker_saved = all_saved;
    if (!trackers || !all_saved)
        return mig_error_oom(err);
    d->trackers[d->ntrackers] = t;
    d->tracker_saved[d->ntrackers] = json_object_get(saved);
    d->ntrackers++;
    return 0;
}

int structure_new_all_tracker(struct domain *d, const char *name, const char *device, struct tracker **ret,
                              struct mig_error *err)
{
    _cleanup_free_ struct region **regions = malloc(MAX(d->nmemory, (size_t)1) * sizeof *regions);
    if (!regions)
        return mig_error_oom(err);
    for (size_t i = 0; i < d->nmemory; i++)
        regions[i] = d->memory[i].region;
    return tracker_new_all(ret, name, device, regions, d->nmemory, err);
}

/* "" for a tracker that is not of kind all or has one region of its own; else who writes. */
const char *structure_all_tracker_of(const struct domain *d, size_t i)
{
    struct json_object *memory;
    if (strcmp(d->trackers[i]->ops->kind, "all") != 0)
        return "";
    if (d->tracker_saved[i] && json_object_object_get_ex(d->tracker_saved[i], "memory", &memory))
        return "";
    return d->trackers[i]->device;
}

int domain_renew_all_trackers(struct domain *d, struct mig_error *err)
{
    for (size_t i = 0; i < d->ntrackers; i++) {
        const char *device = structure_all_tracker_of(d, i);
        struct tracker *fresh;
        if (!*device)
            continue;
        int r = structure_new_all_tracker(d, d->trackers[i]->name, device, &fresh, err);
        if (r < 0)
            return r;
        tracker_free(d->trackers[i]);
        d->trackers[i] = fresh;
    }
    return 0;
}

int domain_add_tracker(struct domain *d, struct tracker *tracker, struct json_object *saved,
                       struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    return r < 0 ? r : structure_add_tracker(d, tracker, saved, err);
}

int structure_add_tracker(struct domain *d, struct tracker *tracker, struct json_object *saved,
                          struct mig_error *err)
{
    int r = domain_part_name_check("tracker", tracker->name, err);
    if (r < 0)
        return r;
    if (domain_find_tracker(d, tracker->name))
        return structure_refuse_twice(d, "tracker", tracker->name, err);
    if (d->ntrackers >= DOMAIN_TRACKERS_MAX)
        return structure_refuse_more(d, "trackers", DOMAIN_TRACKERS_MAX, err);
    r = structure_append_tracker(d, tracker, saved, err);
    if (r == 0)
        domain_tell(d);
    return r;
}

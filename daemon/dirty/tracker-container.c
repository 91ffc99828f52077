/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trackers of kernel DMA address spaces: from a container's readings to pages of regions.
 *
 * A gate's reading clears too, though iommufd could leave the bits: the caller keeps what was found, and what
 * stayed would be found again after it was sent again.
 */
#include "dirty/tracker-container.h"
#include "base/log.h"
#include "dirty/report.h"
#include <string.h>

int tracker_container_new(struct tracker **ret, const struct tracker_ops *ops, const char *kind,
                          struct container *c, struct mig_error *err)
{
    if (strcmp(c->ops->kind, kind) != 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "container %s is of kind %s, not %s", c->name,
                             c->ops->kind, kind);
    struct tracker_container *tc = calloc(1, sizeof *tc);
    if (!tc)
        return mig_error_oom(err);
    int r = tracker_init(&tc->base, ops, c->name, c->name, err);
    if (r < 0) {
        free(tc);
        return r;
    }
    tc->container = container_ref(c);
    *ret = &tc->base;
    return 0;
}

void tracker_container_stop(struct tracker *t)
{
    if (t->started)
        container_stop(tracker_container_of(t)->container);
    t->started = false;
}

static bool gone_for_good(int r)
{
    return r == -ENODEV || r == -EBADF || r == -ENOTTY || r == -EINVAL || r == -E2BIG || r == -ESTALE;
}

int tracker_container_failed(struct tracker *t, bool peek, struct dirty_sink *sink, int r,
                             const struct mig_error *e, struct mig_error *err)
{
    report_all_writable(tracker_container_of(t)->container->map, sink);
    if (!peek && !gone_for_good(r)) {
        log_mig_error(LOG_WARNING, &(struct log_fields){.message = MESSAGE_TRACKER_LOST}, e,
                      "dirty bits cannot be read, so all memory of the container counts as written");
        return 0;
    }
    if (err)
        *err = *e;
    return r;
}

void tracker_container_destroy(struct tracker *t)
{
    tracker_container_stop(t);
    container_unref(tracker_container_of(t)->container);
    free(tracker_container_of(t));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/vmm-log.h"
#include "base/clock.h"
#include "base/log.h"
#include "dirty/tracker.h"
#include <string.h>

#define START_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define STOP_TIMEOUT_USEC  (2 * USEC_PER_SEC)

static bool has_log(const struct domain *d)
{
    for (size_t i = 0; i < d->ntrackers; i++)
        if (strcmp(d->trackers[i]->ops->kind, "cpu-log") == 0)
            return true;
    return false;
}

int vmm_log_start(struct domain *d, struct mig_error *err)
{
    struct controller *c = d->controller;
    if (!c->ops->start_log || !has_log(d))
        return 0;
    return c->ops->start_log(c, deadline_in(START_TIMEOUT_USEC), err);
}

void vmm_log_stop(struct domain *d)
{
    struct controller *c = d->controller;
    struct mig_error e = MIG_ERROR_INIT;
    const struct log_fields fields = {.domain = d->name};
    if (c->ops->stop_log && has_log(d) && c->ops->stop_log(c, deadline_in(STOP_TIMEOUT_USEC), &e) < 0)
        log_mig_error(LOG_NOTICE, &fields, &e, "Ending the VMM's log of what its CPUs write");
}

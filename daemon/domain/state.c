/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state of a domain and who has it. */
#include "base/log.h"
#include "domain/domain.h"
#include "domain/saved.h"
#include <stdio.h>
#include <string.h>

void domain_tell(struct domain *d)
{
    if (d->saved)
        domain_save(d);
    if (d->changed)
        d->changed(d, d->changed_userdata);
}

void domain_set_state(struct domain *d, enum domain_state state, const char *problem)
{
    if (!problem)
        problem = "";
    if (d->incomplete[0] && (state == DOMAIN_STATE_RUNNING || state == DOMAIN_STATE_WAITING)) {
        state = DOMAIN_STATE_BROKEN;
        problem = d->incomplete;
    }
    if (d->state == state && strcmp(d->problem, problem) == 0)
        return;
    const struct log_fields fields = {
        .message = state == DOMAIN_STATE_BROKEN ? MESSAGE_DOMAIN_BROKEN : MESSAGE_NONE, .domain = d->name};
    if (*problem)
        log_write(LOG_ERR, &fields, "%s -> %s: %s", domain_state_to_string(d->state),
                  domain_state_to_string(state), problem);
    else
        log_write(LOG_INFO, &fields, "%s -> %s", domain_state_to_string(d->state),
                  domain_state_to_string(state));
    d->state = state;
    snprintf(d->problem, sizeof d->problem, "%s", problem);
    domain_tell(d);
}

int domain_check_idle(struct domain *d, struct mig_error *err)
{
    int r;
    if (d->borrowed) {
        r = mig_error_set(err, MIG_ERR_BUSY, 0, "domain %s is busy with migration %s", d->name,
                          d->migration_id);
        mig_error_hint(err, "wait for it to end, or cancel it");
        return r;
    }
    if (d->job[0]) {
        r = mig_error_set(err, MIG_ERR_BUSY, 0, "domain %s is busy with %s", d->name, d->job);
        mig_error_hint(err, "try again when that call was answered");
        return r;
    }
    return 0;
}

int domain_begin_job(struct domain *d, const char *job, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r == 0)
        snprintf(d->job, sizeof d->job, "%s", job);
    return r;
}

void domain_end_job(struct domain *d)
{
    d->job[0] = '\0';
}

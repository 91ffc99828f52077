/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the domain is doing, and who pauses its workload. */
#include "base/clock.h"
#include "check/check-private.h"
#include <string.h>

#define PING_TIMEOUT_USEC (3 * USEC_PER_SEC)

static void check_state(struct check *c)
{
    const struct domain *d = c->domain;
    if (d->borrowed) {
        TELL(c, FINDING_DOMAIN_MIGRATING, d->name, NULL, "Domain %s is being migrated already (migration %s)",
             d->name, d->migration_id);
        return;
    }
    if (d->job[0])
        TELL(c, FINDING_DOMAIN_BUSY, d->name, NULL, "Domain %s is busy with %s", d->name, d->job);
    switch (d->state) {
    case DOMAIN_STATE_RUNNING:
        if (d->incoming)
            TELL(c, FINDING_DOMAIN_INCOMING, d->name, NULL,
                 "Domain %s does not run here: it was registered as incoming", d->name);
        break;
    case DOMAIN_STATE_WAITING:
    case DOMAIN_STATE_RECEIVING:
        TELL(c, FINDING_DOMAIN_INCOMING, d->name, NULL, "Domain %s does not run here: it is incoming and %s",
             d->name, d->state == DOMAIN_STATE_WAITING ? "waits for a migration" : "receives one");
        break;
    case DOMAIN_STATE_MIGRATING:
        TELL(c, FINDING_DOMAIN_MIGRATING, d->name, NULL, "Domain %s is being migrated already", d->name);
        break;
    case DOMAIN_STATE_IN_DOUBT:
        TELL(c, FINDING_DOMAIN_IN_DOUBT, d->name, NULL,
             "Domain %s is in doubt: nobody has decided yet which side runs it", d->name);
        break;
    case DOMAIN_STATE_DEPARTED:
        TELL(c, FINDING_DOMAIN_DEPARTED, d->name, NULL, "Domain %s does not run here: it has departed",
             d->name);
        break;
    case DOMAIN_STATE_BROKEN:
    case DOMAIN_STATE_MAX:
        TELL(c, FINDING_DOMAIN_BROKEN, d->name, NULL, "Domain %s is broken: %s", d->name, d->problem);
        break;
    }
}

void check_domain_facts(struct check *c)
{
    const struct domain *d = c->domain;
    check_state(c);
    if (!d->saved)
        TELL(c, FINDING_DOMAIN_UNSAVED, d->name, NULL, "Domain %s is not saved: a restart of migd forgets it",
             d->name);
    if (strcmp(d->controller->ops->kind, "none") == 0)
        TELL(c, FINDING_CONTROLLER_NONE, d->name, NULL,
             "Domain %s has no controller: migd stops its devices, but nobody pauses its CPUs", d->name);
}

void check_controller_asks(struct check *c)
{
    struct controller *controller = c->domain->controller;
    struct mig_error e = MIG_ERROR_INIT;
    c->controller_dead =
        controller->ops->alive && controller->ops->alive(controller, deadline_in(PING_TIMEOUT_USEC), &e) < 0;
    if (c->controller_dead)
        TELL_ERROR(c, FINDING_CONTROLLER_GONE, c->domain->name, &e, "The controller of domain %s",
                   c->domain->name);
}

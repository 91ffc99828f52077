/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The order of a check, which is the order of its findings, and what becomes of them. */
#include "check/check-private.h"
#include "base/clock.h"
#include "domain/structure.h"

void check_waive(struct findings *f, const struct migration_options *o)
{
    migration_options_waive(o, f);
    /* Who has said what is to be done when it does not converge need not be told that it will not. */
    if (o->on_stall != STALL_ABORT)
        f->waived[FINDING_CONTAINER_BLIND] = f->waived[FINDING_CONVERGENCE_IMPOSSIBLE] = true;
}

bool check_may_ask(const struct domain *d)
{
    return d->state == DOMAIN_STATE_RUNNING && !d->incoming && !d->borrowed && !d->job[0];
}

static int begin(struct check *c, struct domain *d, const struct check_request *q, struct findings *f)
{
    *c = (struct check){.domain = d, .request = q, .findings = f};
    int r = domain_snapshot_memory(d, &c->memory, &c->nmemory);
    if (r < 0)
        return r;
    c->dead = calloc(MAX(d->ndevices, (size_t)1), sizeof *c->dead);
    c->unknown = calloc(MAX(c->nmemory, (size_t)1), sizeof *c->unknown);
    return c->dead && c->unknown ? 0 : -ENOMEM;
}

static int end(struct check *c, int r)
{
    for (size_t i = 0; i < c->nmemory; i++)
        region_unref(c->memory[i].region);
    free(c->memory);
    free(c->dead);
    free(c->unknown);
    return r < 0 || c->failed ? -ENOMEM : 0;
}

int check_facts(struct domain *d, const struct check_request *q, struct findings *ret)
{
    struct check c;
    int r = begin(&c, d, q, ret);
    if (r == 0) {
        check_domain_facts(&c);
        check_memory_facts(&c);
        check_device_facts(&c);
        check_container_facts(&c);
        check_tracker_facts(&c);
        check_host_facts(&c);
    }
    return end(&c, r);
}

int check_asks(struct domain *d, const struct check_request *q, bool keep_tracking, struct findings *ret)
{
    struct check c;
    int r = begin(&c, d, q, ret);
    if (r == 0) {
        c.keep_tracking = keep_tracking;
        check_memory_asks(&c);
        check_restart_asks(&c);
        check_device_asks(&c);
        check_controller_asks(&c);
        check_tracker_asks(&c);
        check_convergence(&c);
        check_host_asks(&c);
    }
    return end(&c, r);
}

static enum mig_error_code error_of(enum finding_code code)
{
    switch (code) {
    case FINDING_CONTAINER_BLIND:
    case FINDING_CONVERGENCE_IMPOSSIBLE:
        return MIG_ERR_STALLED;
    case FINDING_DOMAIN_BUSY:
    case FINDING_DOMAIN_MIGRATING:
        return MIG_ERR_BUSY;
    case FINDING_DOMAIN_BROKEN:
    case FINDING_DOMAIN_DEPARTED:
    case FINDING_DOMAIN_IN_DOUBT:
    case FINDING_DOMAIN_INCOMING:
    case FINDING_MEMORY_NONE:
        return MIG_ERR_WRONG_STATE;
    case FINDING_DEVICE_ERROR_STATE:
        return MIG_ERR_DEVICE_BROKEN;
    case FINDING_DEVICE_GONE:
    case FINDING_HOLDER_GONE:
        return MIG_ERR_DEVICE_GONE;
    case FINDING_MEMORY_TRUNCATED:
    case FINDING_RUNTIME_DIR:
        return MIG_ERR_FAILED;
    case FINDING_MIGD_DESCRIPTORS:
        return MIG_ERR_LIMIT;
    default: /* those that come from an error have its code */
        return MIG_ERR_NOT_SUPPORTED;
    }
}

int check_refusal(const struct findings *f, struct mig_error *err)
{
    const struct finding *first = findings_first_error(f);
    return first ? findings_to_error(f, error_of(first->code), err) : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recover.h"
#include "base/log.h"
#include "migration/record.h"
#include <string.h>

static bool is_unfinished(const struct record *r)
{
    switch (r->state) {
    case RECORD_ACTIVE: /* the domain may not have been saved as departed or running */
        return true;
    case RECORD_STARTED:
    case RECORD_INTENT:
    case RECORD_COMMITTED:
    case RECORD_RETURNED: /* of the source: not resumed yet; of the destination: an answer for the source */
        return !r->incoming;
    case RECORD_PREPARED:
    case RECORD_ACCEPTED:
        return r->incoming;
    default:
        return false;
    }
}

static void recover_one(const struct recovery *rec, const struct record *r)
{
    const struct log_fields fields = {
        .message = MESSAGE_MIGRATION_TAKEN_UP, .domain = r->domain, .migration = r->id};
    const struct log_fields failed = {
        .message = MESSAGE_RECOVERY_FAILED, .domain = r->domain, .migration = r->id};
    struct domain *d = registry_find(rec->registry, r->domain);
    if (!d) {
        log_write(LOG_ERR, &failed,
                  "The record of migration %s says %s, but its domain %s could not be restored: register it "
                  "again, then restart migd",
                  r->id, record_state_to_string(r->state), r->domain);
        return;
    }
    if (r->incoming && r->state == RECORD_ACTIVE && !d->incoming)
        return; /* it runs, and is known to; the record is there for the source's question */
    log_write(LOG_NOTICE, &fields, "Taking up migration %s of %s (%s, %s)", r->id, r->domain,
              r->incoming ? "incoming" : "outgoing", record_state_to_string(r->state));
    struct mig_error err = MIG_ERROR_INIT;
    int error;
    if (r->incoming) {
        error = incoming_recover(rec->incoming, d, r, &err);
    } else {
        struct migration *m;
        error = outgoing_recover(&m, rec->context, d, r, rec->observer, &err);
        if (error == 0) {
            if (rec->started)
                rec->started(m, rec->userdata);
            migration_unref(m);
        }
    }
    if (error < 0) {
        log_mig_error(LOG_ERR, &failed, &err, "Cannot take the migration up");
        /* What the record left undecided or standing still must not look as if it ran or waited. */
        if (!d->borrowed)
            domain_set_state(d, DOMAIN_STATE_BROKEN, err.message);
    }
}

void recover_migrations(const struct recovery *rec)
{
    struct record *list;
    size_t n;
    int r = record_list(rec->context->runtime_dir, &list, &n);
    if (r < 0) {
        log_error("Cannot read the records in %s/migrations: %s", rec->context->runtime_dir, strerror(-r));
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (is_unfinished(&list[i]))
            recover_one(rec, &list[i]);
    free(list);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-guests.h"
#include "api/api-context.h"
#include "base/log.h"
#include "outgoing/outgoing.h"
#include <string.h>

static int add(const char *name, bool incoming, struct domain **ret, void *userdata, struct mig_error *err)
{
    struct api_domain *ad;
    int r = api_register_domain(userdata, name, incoming, true, &ad, err);
    if (r == 0)
        *ret = ad->domain;
    return r;
}

/* It has no devices of migd's that could be slow to let go. */
static void take_off(struct domain *d, void *userdata)
{
    struct api_domain *ad = api_find_domain(userdata, d->name);
    if (ad && ad->domain == d)
        domain_unref(api_release_domain(userdata, ad));
}

static void end_migration(struct domain *d, void *userdata)
{
    struct api *a = userdata;
    struct mig_error why = MIG_ERROR_INIT;
    mig_error_set(&why, MIG_ERR_FAILED, 0, "%s has no QEMU any more", d->name);
    for (size_t i = 0; i < a->nmigrations; i++) {
        struct migration *m = a->migrations[i]->migration;
        if (strcmp(migration_id(m), d->migration_id) == 0 && migration_break_off(m, &why, NULL) == 0)
            log_write(LOG_NOTICE, &(struct log_fields){.domain = d->name, .migration = d->migration_id},
                      "%s: its migration is broken off", why.message);
    }
}

struct guests_ops api_guests_ops(struct api *a)
{
    return (struct guests_ops){.add = add,
                               .remove = take_off,
                               .end_migration = end_migration,
                               .userdata = a,
                               .security = a->o.outgoing->security};
}

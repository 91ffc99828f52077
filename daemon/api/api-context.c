/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the objects of this folder need of the whole, which knows nothing of them. */
#include "api/api-context.h"
#include "loop/loop.h"
#include <string.h>

int api_keep_slot(struct api *a, sd_bus_slot *slot)
{
    if (a->nslots >= API_SLOTS_MAX) {
        sd_bus_slot_unref(slot);
        return -ENOSPC;
    }
    a->slots[a->nslots++] = slot;
    return 0;
}

/* Something that needs the loop and the bus to come to its end. A migration in doubt does not: it only asks
 * its peer. */
static bool is_busy(const struct api *a)
{
    for (size_t i = 0; i < a->nmigrations; i++)
        if (migration_get_state(a->migrations[i]->migration) == MIG_STATE_RUNNING)
            return true;
    return a->njobs > 0;
}

static void check_quit(void *userdata)
{
    struct api *a = userdata;
    if (!a->quit_done || is_busy(a))
        return;
    /* Posted, so that what the last one posted when it ended comes first. */
    if (loop_post(a->o.loop, a->quit_done, a->quit_userdata) < 0)
        a->quit_done(a->quit_userdata);
    a->quit_done = NULL;
}

void api_check_quit(struct api *a)
{
    if (a->quitting && loop_post(a->o.loop, check_quit, a) < 0)
        check_quit(a);
}

int api_domain_open(const struct api_domain *ad, struct mig_error *err)
{
    return ad->api->quitting ? mig_error_set(err, MIG_ERR_BUSY, 0, "migd is ending") : 0;
}

struct api_domain *api_find_domain(struct api *a, const char *name)
{
    for (size_t i = 0; i < a->ndomains; i++)
        if (strcmp(a->domains[i]->domain->name, name) == 0)
            return a->domains[i];
    return NULL;
}

void api_forget_quit(struct api *a)
{
    loop_retract(a->o.loop, check_quit, a);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The questions that are being answered, and those who wait for the end of what they asked for. */
#include "api/api-fetch.h"
#include "loop/worker.h"
#include "migration/dialogue.h"
#include <string.h>

void api_fetch_free(struct api_fetch *f)
{
    for (struct api_fetch **at = &f->api->fetches; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    if (f->worker)
        worker_cancel(f->worker);
    worker_free(f->worker);
    migration_unref(f->migration);
    channel_free(f->channel);
    json_object_put(f->hello);
    free(f);
}

/* Only a guest that runs here as if nothing had been may be moved by QEMU now. One whose operator said start
 * or cancel stays. */
static bool may_move_whole(const struct api_fetch *f)
{
    if (!f->migration)
        return false;
    const struct domain *d = registry_find(f->api->o.registry, f->here);
    return d && d->state == DOMAIN_STATE_RUNNING && migration_get_state(f->migration) == MIG_STATE_FAILED;
}

static void tell_end(struct api_fetch *f)
{
    struct json_object *o = json_object_new_object();
    f->channel->stall_timeout_usec = 0;
    if (o && json_add_bool(o, "whole", may_move_whole(f)) == 0)
        dialogue_send(&f->stream, "fetch-end", TAKE_PTR(o), NULL);
    json_object_put(o);
    api_fetch_free(f);
}

void api_fetch_ended(struct api *a, struct migration *m)
{
    for (struct api_fetch *f = a->fetches, *next; f; f = next) {
        next = f->next;
        if (f->migration ? f->migration == m : f->kept && strcmp(f->here, migration_domain(m)) == 0)
            tell_end(f);
    }
}

void api_fetch_given_up(struct api *a, const char *name)
{
    for (struct api_fetch *f = a->fetches, *next; f; f = next) {
        next = f->next;
        if (f->kept && !f->migration && strcmp(f->here, name) == 0)
            tell_end(f);
    }
}

void api_fetches_free(struct api *a)
{
    while (a->fetches)
        api_fetch_free(a->fetches);
}

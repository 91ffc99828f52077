/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a domain, and lending it to a migration. Its state: state.c; what it consists of:
 * structure-*.c. */
#include "domain/domain.h"
#include "domain/client.h"
#include "domain/kernel-devices.h"
#include "domain/opened.h"
#include "domain/structure.h"
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

int domain_new(struct domain **ret, const char *name, bool incoming, struct mig_error *err)
{
    int r = domain_name_check(name, err);
    if (r < 0)
        return r;
    struct domain *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return mig_error_oom(err);
    fresh->refs = 1;
    pthread_mutex_init(&fresh->lock, NULL);
    _cleanup_(domain_unrefp) struct domain *d = fresh;
    snprintf(d->name, sizeof d->name, "%s", name);
    d->incoming = incoming;
    d->state = incoming ? DOMAIN_STATE_WAITING : DOMAIN_STATE_RUNNING;
    /* Above malloc's mmap threshold: pages of it that are never used are never there. */
    d->memory = calloc(DOMAIN_REGIONS_MAX, sizeof *d->memory);
    if (!d->memory)
        return mig_error_oom(err);
    r = controller_new_none(&d->controller, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(d);
    return 0;
}

struct domain *domain_ref(struct domain *d)
{
    __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

/* Half-built domains too. */
static void clear_structure(struct domain *d)
{
    for (size_t i = 0; i < d->ntrackers; i++) {
        tracker_free(d->trackers[i]);
        json_object_put(d->tracker_saved[i]);
    }
    d->ntrackers = 0;
    for (size_t i = 0; i < d->ndevices; i++)
        structure_free_device(&d->devices[i]);
    d->ndevices = 0;
    domain_clear_containers(d);
    domain_clear_opened(d);
    for (size_t i = 0; i < d->nmemory; i++)
        region_unref(d->memory[i].region);
    d->nmemory = 0;
    free(d->trackers);
    free(d->tracker_saved);
    free(d->devices);
    d->trackers = NULL;
    d->tracker_saved = NULL;
    d->devices = NULL;
    while (d->clients) { /* after the devices, whose threads use them */
        struct domain_client *c = d->clients;
        d->clients = c->next;
        free(c);
    }
}

struct domain *domain_unref(struct domain *d)
{
    if (!d || __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    clear_structure(d);
    json_object_put(d->controller_saved);
    controller_unref(d->controller);
    free(d->memory);
    free(d->saved_path);
    pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}

static void set_borrowed(struct domain *d, bool borrowed)
{
    pthread_mutex_lock(&d->lock);
    d->borrowed = borrowed;
    pthread_mutex_unlock(&d->lock);
}

bool domain_is_borrowed(struct domain *d)
{
    pthread_mutex_lock(&d->lock);
    bool borrowed = d->borrowed;
    pthread_mutex_unlock(&d->lock);
    return borrowed;
}

int domain_borrow(struct domain *d, const char *migration_id, struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r < 0)
        return r;
    snprintf(d->migration_id, sizeof d->migration_id, "%s", migration_id);
    set_borrowed(d, true);
    /* A pass-through client may have brought memory a moment ago, and cannot any more. */
    r = domain_renew_all_trackers(d, err);
    if (r < 0) {
        set_borrowed(d, false);
        d->migration_id[0] = '\0';
        return r;
    }
    if (d->changed)
        d->changed(d, d->changed_userdata);
    return 0;
}

void domain_give_back(struct domain *d)
{
    set_borrowed(d, false);
    d->migration_id[0] = '\0';
    domain_drop_unused_memory(d);
    domain_check_devices(d);
    if (d->changed)
        d->changed(d, d->changed_userdata);
}

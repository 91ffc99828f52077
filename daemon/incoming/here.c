/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/here.h"
#include <stdio.h>
#include <string.h>

/* A pass-through client may bring memory meanwhile. */
static int take_memory(struct here *h, struct domain *d)
{
    pthread_mutex_lock(&d->lock);
    h->memory = calloc(d->nmemory ? d->nmemory : 1, sizeof *h->memory);
    for (size_t i = 0; h->memory && i < d->nmemory; i++) {
        h->memory[i] = d->memory[i];
        region_ref(h->memory[i].region);
        h->nmemory++;
    }
    pthread_mutex_unlock(&d->lock);
    return h->memory ? 0 : -ENOMEM;
}

static bool is_tracked(const struct domain *d)
{
    bool any = false;
    for (size_t i = 0; i < d->ntrackers; i++) {
        if (tracker_is_blind(d->trackers[i]))
            return false;
        any = true;
    }
    return any;
}

int here_take(struct here *ret, struct domain *d, bool accept_overrides)
{
    struct here h = {.controller_state = controller_has_state(d->controller),
                     .tracked = is_tracked(d),
                     .accept_overrides = accept_overrides};
    snprintf(h.name, sizeof h.name, "%s", d->name);
    h.devices = calloc(d->ndevices ? d->ndevices : 1, sizeof(struct device *));
    if (!h.devices || take_memory(&h, d) < 0) {
        here_drop(&h);
        return -ENOMEM;
    }
    for (; h.ndevices < d->ndevices; h.ndevices++)
        h.devices[h.ndevices] = device_ref(d->devices[h.ndevices].device);
    *ret = h;
    return 0;
}

void here_drop(struct here *h)
{
    for (size_t i = 0; i < h->nmemory; i++)
        region_unref(h->memory[i].region);
    for (size_t i = 0; i < h->ndevices; i++)
        device_unref(h->devices[i]);
    space_ledger_unref(h->ledger);
    free(h->memory);
    free(h->devices);
    *h = (struct here){0};
}

struct region *here_find_region(const struct here *h, const char *name)
{
    for (size_t i = 0; i < h->nmemory; i++)
        if (strcmp(h->memory[i].region->name, name) == 0)
            return h->memory[i].region;
    return NULL;
}

struct device *here_find_device(const struct here *h, const char *name)
{
    for (size_t i = 0; i < h->ndevices; i++)
        if (strcmp(h->devices[i]->name, name) == 0)
            return h->devices[i];
    return NULL;
}

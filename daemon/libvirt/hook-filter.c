/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/hook-filter.h"
#include "host/inventory.h"
#include <stdio.h>
#include <string.h>

/* ---- what there is ---- */

static void offer(struct match_device *o, const struct host_device *d, const char *labels)
{
    *o = MATCH_DEVICE_INIT;
    o->mediated = d->kind == HOST_MDEV;
    snprintf(o->address, sizeof o->address, "%s", d->address);
    snprintf(o->driver, sizeof o->driver, "%s", d->driver);
    /* "mtty-2 (Dual port serial)": the name in brackets is for people, and may change with the driver. */
    snprintf(o->type, sizeof o->type, "%.*s", (int)strcspn(d->type, " "), d->type);
    o->vendor = d->vendor;
    o->device = d->device;
    o->subvendor = d->subvendor;
    o->subdevice = d->subdevice;
    o->numa_node = d->numa_node;
    o->unbound = !o->mediated && !d->on_vfio;
    if (match_label(labels, d->address, o->label) < 0)
        o->label[0] = '\0'; /* the configuration was checked before */
    if (d->nholders)
        snprintf(o->taken_by, sizeof o->taken_by, "%.31s, process %d", d->holders[0].command,
                 (int)d->holders[0].pid);
    else if (d->domain[0])
        snprintf(o->taken_by, sizeof o->taken_by, "domain %.64s of migd", d->domain);
}

int hook_offers_take(struct hook_offers *ret, const struct host_tree *tree, const char *labels,
                     struct mig_error *err)
{
    _cleanup_(inventory_freep) struct inventory *inventory = NULL;
    const struct inventory_options options = {.tree = *tree, .all = true};
    int r = inventory_take(&inventory, &options, err);
    if (r < 0)
        return r;
    struct hook_offers o = {.items = calloc(inventory->count + 1, sizeof *o.items)};
    if (!o.items)
        return mig_error_oom(err);
    for (; o.n < inventory->count; o.n++)
        offer(&o.items[o.n], &inventory->devices[o.n], labels);
    *ret = o;
    return 0;
}

void hook_offers_done(struct hook_offers *o)
{
    free(o->items);
    *o = (struct hook_offers){0};
}

/* ---- the choice ---- */

static void mark_reserved(const struct hook_filter *f, struct hook_offers *o, const char *owner)
{
    for (size_t i = 0; i < o->n; i++) {
        const char *holder = reservations_holder(f->reservations, o->items[i].address, owner, f->now_usec);
        if (holder)
            snprintf(o->items[i].taken_by, sizeof o->items[i].taken_by, "a reservation for %.70s", holder);
    }
}

static struct match_device *find(struct hook_offers *o, const char *address)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->items[i].address, address) == 0)
            return &o->items[i];
    return NULL;
}

/* One of which nothing is known but its address, or when nothing is to be swapped: libvirt takes that
 * address, so it must not be somebody else's. */
static int keep(const struct match_device *wish, struct hook_offers *o, struct match_device **ret, char *note,
                size_t note_size, struct mig_error *err)
{
    struct match_device *d = find(o, wish->address);
    if (d && d->taken_by[0]) {
        int r = mig_error_set(err, MIG_ERR_BUSY, 0, "device %.90s of this host is in use: %s", wish->address,
                              d->taken_by);
        mig_error_hint(err, "At the source, migctl libvirt prepare DOMAIN --apply notes what the device is; "
                            "then migd can choose another one that is like it");
        return r;
    }
    if (!d)
        snprintf(
            note, note_size,
            "this host has no device %.90s, and the domain does not say what it is; at the source, migctl "
            "libvirt prepare DOMAIN --apply notes that",
            wish->address);
    *ret = d;
    return 0;
}

static int choose(const struct hook_filter *f, const struct match_device *wish, struct hook_offers *o,
                  struct match_device **ret, char *note, size_t note_size, struct mig_error *err)
{
    size_t found;
    if (!f->rules || !match_is_known(wish))
        return keep(wish, o, ret, note, note_size, err);
    int r = match_find(wish, o->items, o->n, f->rules, &found, err);
    if (r == 0)
        *ret = &o->items[found];
    return r;
}

int hook_filter_run(const struct hook_filter *f, struct hook_xml *x, struct hook_offers *o, char *note,
                    size_t note_size, struct mig_error *err)
{
    const char *owner = hook_xml_uuid(x), *name = hook_xml_name(x);
    int r = 0;
    mark_reserved(f, o, owner);
    for (size_t i = 0; r == 0 && i < hook_xml_count(x); i++) {
        struct match_device *d = NULL;
        r = choose(f, hook_xml_device(x, i), o, &d, note, note_size, err);
        if (r == 0 && d) {
            snprintf(d->taken_by, sizeof d->taken_by, "this domain");
            r = reservations_add(f->reservations, d->address, owner, name, f->now_usec, f->until_usec, err);
            if (r == 0)
                r = hook_xml_swap(x, i, d->address, err);
        }
    }
    if (r < 0)
        reservations_release(f->reservations, owner);
    return r;
}

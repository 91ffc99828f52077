/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The controller of a domain, and taking back parts that were added together. Main thread. */
#include "domain/structure.h"
#include "domain/kernel-devices.h"
#include <json-c/json.h>

int domain_set_controller(struct domain *d, struct controller *c, struct json_object *saved,
                          struct mig_error *err)
{
    int r = domain_check_idle(d, err);
    if (r == 0)
        structure_set_controller(d, c, saved);
    return r;
}

void structure_set_controller(struct domain *d, struct controller *c, struct json_object *saved)
{
    controller_ref(c);
    controller_unref(d->controller);
    d->controller = c;
    json_object_get(saved);
    json_object_put(d->controller_saved);
    d->controller_saved = saved;
    domain_tell(d);
}

struct structure_counts structure_count(const struct domain *d)
{
    return (struct structure_counts){d->ndevices, d->ntrackers, d->ncontainers};
}

void structure_drop_newer(struct domain *d, struct structure_counts than)
{
    while (d->ntrackers > than.ntrackers) {
        tracker_free(d->trackers[--d->ntrackers]);
        json_object_put(d->tracker_saved[d->ntrackers]);
    }
    while (d->ndevices > than.ndevices)
        structure_free_device(&d->devices[--d->ndevices]);
    while (d->ncontainers > than.ncontainers)
        domain_drop_container(&d->containers[--d->ncontainers]);
}

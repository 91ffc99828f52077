/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a restart of migd could not bring back. What has a path is opened again by it; what came as a
 * descriptor lives on in the service manager's store, where there is one (loop/fdstore.h).
 */
#include "check/check-private.h"
#include "loop/fdstore.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include <string.h>
#include <sys/stat.h>

static void tell_lost(struct check *c, const char *what, const char *name)
{
    TELL(c, FINDING_DOMAIN_NOT_RESTORABLE, name, NULL,
         "%s %s is a descriptor that nobody keeps for migd: a restart of migd loses it", what, name);
}

static void check_path(struct check *c, const struct region *r)
{
    struct stat st, now;
    if (stat(r->origin, &now) < 0)
        TELL(c, FINDING_DOMAIN_NOT_RESTORABLE, r->name, NULL,
             "Memory %s cannot be opened again by its path %.200s: %s", r->name, r->origin, strerror(errno));
    else if (fstat(r->fd, &st) == 0 && (now.st_dev != st.st_dev || now.st_ino != st.st_ino))
        TELL(c, FINDING_DOMAIN_NOT_RESTORABLE, r->name, NULL,
             "The path %.200s of memory %s leads to another file by now", r->origin, r->name);
}

void check_restart_asks(struct check *c)
{
    const struct domain *d = c->domain;
    if (!d->saved)
        return; /* told as domain-unsaved */
    bool kept = fdstore_is_there();
    for (size_t i = 0; i < c->nmemory && !kept; i++) {
        const struct region *r = c->memory[i].region;
        if (c->memory[i].from_client) /* comes again with the client */
            continue;
        if (r->origin)
            check_path(c, r);
        else
            tell_lost(c, "Memory", r->name);
    }
    for (size_t i = 0; i < d->ncontainers && !kept; i++)
        tell_lost(c, "Container", d->containers[i].container->name);
    for (size_t i = 0; i < d->ndevices; i++) {
        const struct domain_device *dd = &d->devices[i];
        /* A connected socket is of no use to anybody else: its server knows this one client. */
        if (kvfio_device_is(dd->device) ? !kept : !dd->socket)
            tell_lost(c, "Device", dd->device->name);
    }
}

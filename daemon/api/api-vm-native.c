/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-vm-native.h"
#include "base/clock.h"
#include "base/fds.h"
#include "outgoing/check-peer.h"
#include "outgoing/outgoing.h"
#include <string.h>

#define ARRIVAL_TIMEOUT_USEC  (60 * USEC_PER_SEC) /* libvirt starts a QEMU there */
#define ARRIVAL_INTERVAL_USEC (300 * USEC_PER_MSEC)

struct domain *api_find_guest(struct api *a, const char *name, struct mig_error *err)
{
    struct api_domain *ad = api_find_domain(a, name);
    if (ad && strcmp(ad->domain->controller->ops->kind, "libvirt") == 0)
        return ad->domain;
    mig_error_set(
        err, MIG_ERR_NOT_SUPPORTED, 0,
        "engine=native: %.80s is not registered by libvirt's hook, so its memory cannot be moved by migd",
        name);
    mig_error_hint(err, "migctl libvirt enable-hook, and migctl libvirt prepare %.80s before it is started",
                   name);
    return NULL;
}

/* 1: it waits there; 0: not yet. */
static int waits_there(const struct api *a, struct domain *guest, const struct vm_plan *plan,
                       const char *destination, int cancel_fd, struct mig_error *err)
{
    struct findings f = {0};
    int r =
        outgoing_check_peer(a->o.outgoing->security, guest, destination, &plan->options, cancel_fd, &f, err);
    bool there = true;
    for (size_t i = 0; i < f.count; i++)
        there &= f.items[i].code != FINDING_DOMAIN_UNKNOWN_AT_DESTINATION &&
                 f.items[i].code != FINDING_DOMAIN_BUSY_AT_DESTINATION;
    findings_clear(&f);
    return r < 0 ? r : there;
}

int api_vm_native_begin(const struct api *a, struct domain *guest, const struct vm_plan *plan,
                        const char *destination, int cancel_fd, struct vm_native **ret, struct mig_error *err)
{
    uint64_t until_usec = deadline_in(ARRIVAL_TIMEOUT_USEC);
    int r = vm_native_begin(ret, plan, err);
    while (r == 0) {
        if (vm_native_has_ended(*ret, err))
            return -ECANCELED;
        r = waits_there(a, guest, plan, destination, cancel_fd, err);
        if (r == 0 && now_usec() >= until_usec)
            return mig_error_set(err, MIG_ERR_PEER_TIMEOUT, 0, "%s did not arrive at %s in time", plan->name,
                                 plan->host);
        if (r == 0)
            fd_wait(-1, 0, cancel_fd, deadline_in(ARRIVAL_INTERVAL_USEC));
    }
    return r < 0 ? r : 0;
}

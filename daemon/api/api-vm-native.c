/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-vm-native.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fds.h"
#include "libvirt/fetch.h"
#include "libvirt/vm-engine.h"
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

static int wait_for_arrival(const struct api *a, struct domain *guest, const struct vm_plan *plan,
                            const char *destination, int cancel_fd, struct vm_native *native,
                            struct mig_error *err)
{
    uint64_t until_usec = deadline_in(ARRIVAL_TIMEOUT_USEC);
    int r = 0;
    while (r == 0) {
        if (vm_native_has_ended(native, err))
            return -ECANCELED;
        r = waits_there(a, guest, plan, destination, cancel_fd, err);
        if (r == 0 && now_usec() >= until_usec)
            return mig_error_set(err, MIG_ERR_PEER_TIMEOUT, 0, "%s did not arrive at %s in time", plan->name,
                                 plan->host);
        if (r == 0)
            fd_wait(-1, 0, cancel_fd, deadline_in(ARRIVAL_INTERVAL_USEC));
    }
    if (r > 0 && fault_point("arrived") < 0)
        r = mig_error_set(err, MIG_ERR_FAILED, 0, "%s has arrived, and a test wants no more", plan->name);
    return r < 0 ? r : 0;
}

/* Announced first, so that it stays here whatever becomes of this migd. */
int api_vm_native_begin(const struct api *a, struct domain *guest, const struct vm_plan *plan,
                        const char *destination, int cancel_fd, struct vm_native **ret, struct mig_error *err)
{
    struct security *security = a->o.outgoing->security;
    struct mig_error ignored = MIG_ERROR_INIT;
    int r = fetch_announce(security, destination, plan->uuid, true, cancel_fd, err);
    if (r < 0)
        return r;
    r = vm_native_begin(ret, plan, a->o.hook, a->o.vm->runtime_dir, err);
    if (r == 0)
        r = wait_for_arrival(a, guest, plan, destination, cancel_fd, *ret, err);
    if (r < 0 && (!*ret || vm_native_has_ended(*ret, &ignored)))
        (void)fetch_announce(security, destination, plan->uuid, false, cancel_fd, &ignored);
    return r;
}

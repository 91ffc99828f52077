/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who runs the guest after a migration that did not say that it was completed: libvirt may have gone away in
 * the middle of it, or migd. */
#include "base/clock.h"
#include "libvirt/vm-job.h"
#include "libvirt/vm-news.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define OUTCOME_USEC (60 * USEC_PER_SEC)
#define CONNECT_USEC (2 * USEC_PER_SEC)
#define AGAIN_MSEC   250

struct answer {
    bool known, active, paused, busy;
};

static struct answer ask(struct virt_link *l, const struct vm_plan *p)
{
    struct mig_error ignored = MIG_ERROR_INIT;
    struct answer a = {0};
    _cleanup_domain_ virDomainPtr d = NULL;
    struct vm_figures job = {0};
    int state = 0, reason = 0;
    int r = virt_link_domain(l, p->name, p->uuid, &d, &ignored);
    if (r < 0) {
        a.known = ignored.code == MIG_ERR_NO_SUCH_DOMAIN;
        return a;
    }
    int active = virt.virDomainIsActive(d);
    a.known = active >= 0 && virt.virDomainGetState(d, &state, &reason, 0) == 0;
    a.active = active == 1;
    a.busy = vm_figures_ask(&job, d, false) == 0 && job.active;
    a.paused = state == VIR_DOMAIN_PAUSED &&
               (reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_STARTING_UP);
    return a;
}

static void let_go(struct vm_job *j)
{
    j->news = vm_news_end(j->news);
    if (j->domain)
        virt.virDomainFree(j->domain);
    j->domain = NULL;
}

static struct answer ask_here(struct vm_job *j, char *what, size_t size)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct answer a = {0};
    int r = j->link ? 0 : virt_link_open(&j->link, j->plan.uri, &err);
    if (r == 0 && !virt_link_lives(j->link)) {
        let_go(j);
        r = virt_link_renew(j->link, CONNECT_USEC, -1, &err);
    }
    if (r == 0 && vm_may_ask(j))
        a = ask(j->link, &j->plan);
    snprintf(what, size, "%s", r < 0 ? err.message : a.active ? "here it stands still" : "it is not here");
    return a;
}

static struct answer ask_there(struct vm_job *j, struct virt_link **there, char *what, size_t size)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct answer a = {0};
    int r = *there ? virt_link_renew(*there, CONNECT_USEC, -1, &err)
                   : virt_link_open(there, j->plan.destination_uri, &err);
    if (r == 0)
        a = ask(*there, &j->plan);
    else
        snprintf(what, size, "%.290s", err.message);
    return a;
}

enum vm_place vm_outcome(struct vm_job *j, char *what, size_t size)
{
    _cleanup_(virt_link_freep) struct virt_link *there = NULL;
    uint64_t deadline = deadline_in(OUTCOME_USEC);
    for (;;) {
        struct answer here = ask_here(j, what, size);
        if (here.known && here.active && !here.paused && !here.busy)
            return VM_HERE;
        if (here.known && !here.active) {
            struct answer at_destination = ask_there(j, &there, what, size);
            if (at_destination.known && at_destination.active && !at_destination.paused)
                return VM_THERE;
            if (at_destination.known && !at_destination.active)
                return VM_NOWHERE; /* a source ends its own only after the destination runs it */
        }
        if (now_usec() >= deadline)
            return VM_UNKNOWN;
        poll(NULL, 0, AGAIN_MSEC);
    }
}

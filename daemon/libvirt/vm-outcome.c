/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who runs the guest after a migration, and what makes that exactly one host: libvirt may have gone away in
 * the middle of it, or migd, or the network. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "libvirt/vm-job.h"
#include "libvirt/vm-news.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define OUTCOME_USEC (180 * USEC_PER_SEC)
#define CONNECT_USEC (2 * USEC_PER_SEC)
#define AGAIN_MSEC   250

bool vm_may_ask(struct vm_job *j)
{
    return !j->hook || !hook_is_running(j->hook, j->plan.name);
}

/* ---- here ---- */

static enum vm_here_state state_of(virDomainPtr d, struct mig_error *err)
{
    struct vm_figures job = {0};
    int state = 0, reason = 0, active = virt.virDomainIsActive(d);
    if (active == 0)
        return VM_HERE_GONE;
    if (active < 0 || virt.virDomainGetState(d, &state, &reason, 0) < 0) {
        virt_error(err, MIG_ERR_FAILED, "libvirt here does not say how it is");
        return VM_HERE_UNKNOWN;
    }
    if (vm_figures_ask(&job, d, false) == 0 && job.active)
        return VM_HERE_BUSY;
    if (vm_state_is_ending(state)) {
        mig_error_set(err, MIG_ERR_FAILED, 0, "it is about to end here");
        return VM_HERE_UNKNOWN;
    }
    bool left = state == VIR_DOMAIN_PAUSED &&
                (reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_STARTING_UP);
    return left ? VM_HERE_LEFT : VM_HERE_RUNS;
}

static void let_go(struct vm_job *j)
{
    j->news = vm_news_end(j->news);
    if (j->domain)
        virt.virDomainFree(j->domain);
    j->domain = NULL;
}

static int connect_here(struct vm_job *j, struct mig_error *err)
{
    int r = j->link ? 0 : virt_link_open(&j->link, j->plan.uri, err);
    if (r == 0 && !virt_link_lives(j->link)) {
        let_go(j);
        r = virt_link_renew(j->link, CONNECT_USEC, -1, err);
    }
    return r;
}

static enum vm_here_state look_here(struct vm_job *j, struct mig_error *err)
{
    _cleanup_domain_ virDomainPtr d = NULL;
    if (vm_process_has_ended(&j->process))
        return VM_HERE_GONE;
    int r = connect_here(j, err);
    if (r == 0 && !vm_may_ask(j))
        r = mig_error_set(err, MIG_ERR_BUSY, 0, "libvirt's hook works on it here");
    if (r == 0)
        r = virt_link_domain(j->link, j->plan.name, j->plan.uuid, &d, err);
    if (r < 0)
        return err->code == MIG_ERR_NO_SUCH_DOMAIN ? VM_HERE_GONE : VM_HERE_UNKNOWN;
    return state_of(d, err);
}

static int resume_here(struct vm_job *j, struct mig_error *err)
{
    _cleanup_domain_ virDomainPtr d = NULL;
    int r = virt_link_domain(j->link, j->plan.name, j->plan.uuid, &d, err);
    if (r == 0 && virt.virDomainResume(d) < 0)
        r = virt_error(err, MIG_ERR_FAILED, "libvirt cannot let it run on here");
    return r;
}

/* ---- there ---- */

static int resume_there(struct vm_job *j, struct mig_error *err)
{
    int r = fault_point("before-resume-there");
    if (r == 0)
        r = vm_there_resume(&j->there, err);
    if (r == 0)
        j->resumed_usec = now_usec();
    return r;
}

/* The last look before something is ended there: a guest that is being moved again is not ours any more. */
static int end_there(struct vm_job *j, struct mig_error *err)
{
    if (look_here(j, err) != VM_HERE_RUNS)
        return -EAGAIN;
    return vm_there_end(&j->there, err);
}

void vm_hand_over(struct vm_job *j)
{
    struct mig_error why = MIG_ERROR_INIT;
    enum vm_there_state there = vm_there_look(&j->there, &why);
    if (vm_sides_decide(&j->plan, VM_HERE_GONE, there) == VM_RESUME_THERE)
        (void)resume_there(j, &why); /* else vm_outcome will */
}

/* ---- both ---- */

struct look {
    enum vm_here_state here;
    enum vm_there_state there;
    struct mig_error why; /* what could not be asked or done */
};

static enum vm_step look(struct vm_job *j, struct look *l)
{
    *l = (struct look){.there = VM_THERE_UNKNOWN};
    l->here = look_here(j, &l->why);
    /* A guest that stands still here is let go on before anybody is waited for. */
    if (l->here == VM_HERE_GONE || l->here == VM_HERE_RUNS)
        l->there = vm_there_look(&j->there, &l->why);
    return vm_sides_decide(&j->plan, l->here, l->there);
}

/* 0: done, and both may be looked at again; else not now. */
static int act(struct vm_job *j, enum vm_step step, struct mig_error *why)
{
    const struct log_fields fields = {.domain = j->plan.name,
                                      .migration = j->migration ? migration_id(j->migration) : NULL};
    const char *what = "";
    int r = -EAGAIN;
    if (step == VM_RESUME_HERE) {
        what = "libvirt left it standing still here, and migd has let it go on";
        r = resume_here(j, why);
    } else if (step == VM_RESUME_THERE) {
        what = "it has arrived, and migd has let it run there";
        r = resume_there(j, why);
    } else if (step == VM_END_THERE) {
        what = "it runs on here, and migd has ended what arrived there";
        r = end_there(j, why);
    }
    if (r == 0)
        log_write(LOG_NOTICE, &fields, "%s: %s", j->plan.name, what);
    return r;
}

static enum vm_place give_up(struct vm_job *j, const struct look *l, struct mig_error *what)
{
    const struct vm_plan *p = &j->plan;
    const char *why = l->why.message, *there = vm_plan_name_there(p);
    if (l->here == VM_HERE_RUNS && l->there == VM_THERE_RUNS) {
        mig_error_set(what, MIG_ERR_WRONG_STATE, 0, "it runs at BOTH hosts");
        mig_error_hint(what, "end it at one of them, before both write: virsh -c %.160s destroy %.60s",
                       p->destination_uri, there);
        return VM_UNKNOWN;
    }
    if (l->here == VM_HERE_RUNS) {
        mig_error_set(what, MIG_ERR_PEER_UNREACHABLE, 0,
                      "a copy of it that never ran may stand still at %s: %.200s", p->host, why);
        mig_error_hint(what, "end that copy and never resume it: virsh -c %.160s destroy %.60s",
                       p->destination_uri, there);
        return VM_HERE;
    }
    mig_error_set(what, MIG_ERR_PEER_UNREACHABLE, 0, "%s: %.290s",
                  l->here == VM_HERE_GONE ? "it is not here" : "it is not known how it is here", why);
    if (l->here == VM_HERE_GONE && p->resume)
        mig_error_hint(
            what, "it stands still at %.60s until it is told to run: virsh -c %.120s resume %.40s%s%.8s%s",
            p->host, p->destination_uri, there, j->migration ? "; then migctl resolve " : "",
            j->migration ? migration_id(j->migration) : "", j->migration ? " --drop" : "");
    return VM_UNKNOWN;
}

static void tell_wait(struct vm_job *j, const struct look *l)
{
    static const char *const words[VM_HERE_MAX] = {
        [VM_HERE_UNKNOWN] = "not known how it is here",
        [VM_HERE_BUSY] = "libvirt has not ended its part here",
        [VM_HERE_RUNS] = "it runs on here, and what may have arrived there is to be ended",
        [VM_HERE_LEFT] = "it stands still here, and is to go on",
        [VM_HERE_GONE] = "it has left this host, and is to run there"};
    if (!j->migration)
        return;
    migration_set_verdict(j->migration, "Waiting for libvirt: %s%s%.200s", words[l->here],
                          mig_error_is_set(&l->why) ? ": " : "", l->why.message);
}

enum vm_place vm_outcome(struct vm_job *j, struct mig_error *what)
{
    uint64_t deadline = deadline_in(OUTCOME_USEC);
    for (;;) {
        struct look l;
        enum vm_step step = look(j, &l);
        if (step == VM_IS_HERE)
            return VM_HERE;
        if (step == VM_IS_THERE)
            return VM_THERE;
        if (step == VM_IS_NOWHERE)
            return VM_NOWHERE;
        bool done = act(j, step, &l.why) == 0;
        if (step == VM_WAIT && l.there == VM_THERE_RUNS && l.here == VM_HERE_RUNS)
            return give_up(j, &l, what);
        if (__atomic_load_n(&j->leaves, __ATOMIC_RELAXED)) { /* the next migd asks again */
            give_up(j, &l, what);
            return VM_UNKNOWN;
        }
        if (now_usec() >= deadline)
            return give_up(j, &l, what);
        if (!done) {
            tell_wait(j, &l);
            poll(NULL, 0, AGAIN_MSEC);
        }
    }
}

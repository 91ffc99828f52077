/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-there.h"
#include "base/clock.h"
#include <string.h>

#define CONNECT_USEC (2 * USEC_PER_SEC)
#define KEEP_USEC    (10 * USEC_PER_SEC)

int vm_there_open(struct vm_there *t, struct mig_error *err)
{
    return virt_link_open(&t->link, t->plan->destination_uri, err);
}

void vm_there_keep(struct vm_there *t)
{
    if (!t->link || virt_link_lives(t->link) || now_usec() - t->tried_usec < KEEP_USEC)
        return;
    (void)virt_link_renew(t->link, 0, -1, NULL);
    t->tried_usec = now_usec();
}

void vm_there_close(struct vm_there *t)
{
    t->link = virt_link_free(t->link);
}

static int find(struct vm_there *t, virDomainPtr *ret, struct mig_error *err)
{
    int r = t->link ? virt_link_renew(t->link, CONNECT_USEC, -1, err)
                    : virt_link_open(&t->link, t->plan->destination_uri, err);
    return r < 0 ? r : virt_link_domain(t->link, t->plan->name, t->plan->uuid, ret, err);
}

/* libvirt says why a guest stands still: it has not arrived (MIGRATION), or it has and was to stay so (USER).
 */
static enum vm_there_state state_of(const struct vm_there *t, virDomainPtr d, struct mig_error *err)
{
    int state = 0, reason = 0, active = virt.virDomainIsActive(d);
    if (active == 0)
        return (t->plan->flags & VIR_MIGRATE_PERSIST_DEST) && !t->plan->defined_there ? VM_THERE_DEFINED
                                                                                      : VM_THERE_GONE;
    if (active < 0 || virt.virDomainGetState(d, &state, &reason, 0) < 0) {
        virt_error(err, MIG_ERR_FAILED, "libvirt at %.120s does not say how %.80s is",
                   t->plan->destination_uri, t->plan->name);
        return VM_THERE_UNKNOWN;
    }
    if (vm_state_is_ending(state)) {
        mig_error_set(err, MIG_ERR_FAILED, 0, "%.80s is about to end at %.120s", t->plan->name,
                      t->plan->destination_uri);
        return VM_THERE_UNKNOWN;
    }
    if (state != VIR_DOMAIN_PAUSED)
        return VM_THERE_RUNS;
    return reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_STARTING_UP ? VM_THERE_ARRIVES
           : reason == VIR_DOMAIN_PAUSED_USER                                               ? VM_THERE_READY
                                                                                            : VM_THERE_RUNS;
}

enum vm_there_state vm_there_look(struct vm_there *t, struct mig_error *err)
{
    _cleanup_domain_ virDomainPtr d = NULL;
    if (find(t, &d, err) < 0)
        return err->code == MIG_ERR_NO_SUCH_DOMAIN ? VM_THERE_GONE : VM_THERE_UNKNOWN;
    return state_of(t, d, err);
}

int vm_there_resume(struct vm_there *t, struct mig_error *err)
{
    _cleanup_domain_ virDomainPtr d = NULL;
    int r = find(t, &d, err);
    if (r == 0 && virt.virDomainResume(d) < 0 && state_of(t, d, err) != VM_THERE_RUNS)
        r = virt_error(err, MIG_ERR_FAILED, "libvirt at %.120s cannot let %.80s run",
                       t->plan->destination_uri, t->plan->name);
    return r;
}

static int destroy(struct vm_there *t, virDomainPtr d, struct mig_error *err)
{
    enum vm_there_state s = state_of(t, d, err);
    if (s == VM_THERE_RUNS)
        return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "%.80s runs at %.120s", t->plan->name,
                             t->plan->destination_uri);
    if ((s == VM_THERE_ARRIVES || s == VM_THERE_READY) && virt.virDomainDestroy(d) < 0)
        return virt_error(err, MIG_ERR_FAILED, "libvirt at %.120s does not end %.80s",
                          t->plan->destination_uri, t->plan->name);
    return s == VM_THERE_UNKNOWN ? -EIO : 0;
}

int vm_there_end(struct vm_there *t, struct mig_error *err)
{
    _cleanup_domain_ virDomainPtr d = NULL;
    int r = find(t, &d, err);
    if (r == 0)
        r = destroy(t, d, err);
    if (r == 0 && state_of(t, d, err) == VM_THERE_DEFINED &&
        virt.virDomainUndefineFlags(d, VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) < 0)
        r = virt_error(err, MIG_ERR_FAILED, "libvirt at %.120s keeps its definition of %.80s",
                       t->plan->destination_uri, t->plan->name);
    return r;
}

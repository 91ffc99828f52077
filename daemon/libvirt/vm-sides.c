/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-sides.h"
#include <libvirt/libvirt.h>

/* Both run where here is RUNS and there too: nobody may end one of them but somebody who looks. */
static const enum vm_step steps[VM_HERE_MAX][VM_THERE_MAX] = {
    [VM_HERE_RUNS] = {[VM_THERE_ARRIVES] = VM_END_THERE,
                      [VM_THERE_READY] = VM_END_THERE,
                      [VM_THERE_DEFINED] = VM_END_THERE,
                      [VM_THERE_GONE] = VM_IS_HERE},
    [VM_HERE_LEFT] = {[VM_THERE_UNKNOWN] = VM_RESUME_HERE,
                      [VM_THERE_ARRIVES] = VM_RESUME_HERE,
                      [VM_THERE_READY] = VM_RESUME_HERE,
                      [VM_THERE_DEFINED] = VM_RESUME_HERE,
                      [VM_THERE_GONE] = VM_RESUME_HERE},
    [VM_HERE_GONE] = {[VM_THERE_READY] = VM_RESUME_THERE,
                      [VM_THERE_RUNS] = VM_IS_THERE,
                      [VM_THERE_DEFINED] = VM_IS_NOWHERE,
                      [VM_THERE_GONE] = VM_IS_NOWHERE},
};

/* Whoever runs it was started by libvirt. */
static enum vm_step look_only(enum vm_step step, enum vm_here_state here)
{
    if (here == VM_HERE_RUNS)
        return VM_IS_HERE;
    return step == VM_RESUME_THERE ? VM_IS_THERE : step == VM_RESUME_HERE ? VM_WAIT : step;
}

bool vm_state_is_ending(int state)
{
    return state == VIR_DOMAIN_SHUTDOWN || state == VIR_DOMAIN_SHUTOFF || state == VIR_DOMAIN_CRASHED;
}

enum vm_step vm_sides_decide(const struct vm_plan *p, enum vm_here_state here, enum vm_there_state there)
{
    enum vm_step step = steps[here][there];
    if (!(p->flags & VIR_MIGRATE_PAUSED))
        return look_only(step, here);
    if (step == VM_RESUME_THERE && !p->resume)
        return VM_IS_THERE;
    if (step == VM_RESUME_HERE && p->native)
        return VM_WAIT; /* migd stopped it for its own part, which lets it go on */
    return step;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-leaving.h"
#include "libvirt/virt-link.h"
#include "libvirt/vm-check-parts.h"
#include <stdio.h>
#include <string.h>

static bool is_being_moved(virDomainPtr d)
{
    virTypedParameterPtr params = NULL;
    int type = VIR_DOMAIN_JOB_NONE, n = 0;
    bool out = false;
    if (virt.virDomainGetJobStats(d, &type, &params, &n, 0) < 0)
        return false;
    for (int i = 0; i < n; i++)
        out |= strcmp(params[i].field, VIR_DOMAIN_JOB_OPERATION) == 0 &&
               params[i].type == VIR_TYPED_PARAM_INT &&
               params[i].value.i == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT;
    virt.virTypedParamsFree(params, n);
    return out && type != VIR_DOMAIN_JOB_NONE;
}

/* Disks that are not shared are copied after the memory, and the guest would stand still for as long. */
static int check_disks(virDomainPtr d, struct mig_error *err)
{
    char *text = virt.virDomainGetXMLDesc(d, 0);
    struct vm_xml *x = calloc(1, sizeof *x);
    const struct vm_disk *local = NULL;
    int r = !x      ? mig_error_oom(err)
            : !text ? virt_error(err, MIG_ERR_FAILED, "libvirt does not tell the definition")
                    : vm_xml_parse(x, text, err);
    for (size_t i = 0; r == 0 && i < x->ndisks && !local; i++)
        if (vm_disk_is_local(&x->disks[i]))
            local = &x->disks[i];
    if (local)
        r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "disk %s of %.80s is on no shared storage",
                          local->target, x->name);
    free(x);
    free(text);
    return r;
}

int vm_leaving(const char *uri, const char *uuid, char ret_name[VM_NAME_MAX + 1], struct mig_error *err)
{
    _cleanup_(virt_link_freep) struct virt_link *l = NULL;
    _cleanup_domain_ virDomainPtr d = NULL;
    int state = VIR_DOMAIN_NOSTATE;
    int r = virt_link_open(&l, uri, err);
    if (r == 0)
        r = virt_link_domain(l, uuid, uuid, &d, err);
    if (r < 0)
        return r;
    snprintf(ret_name, VM_NAME_MAX + 1, "%s", virt.virDomainGetName(d));
    if (!is_being_moved(d))
        return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "libvirt does not move %.80s away from here",
                             ret_name);
    if (virt.virDomainGetState(d, &state, NULL, 0) < 0 ||
        (state != VIR_DOMAIN_RUNNING && state != VIR_DOMAIN_BLOCKED))
        return mig_error_set(err, MIG_ERR_WRONG_STATE, 0, "%.80s is %s", ret_name, vm_state_word(state));
    return check_disks(d, err);
}

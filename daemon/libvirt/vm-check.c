/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-check.h"
#include "base/format.h"
#include "libvirt/virt-link.h"
#include "libvirt/vm-check-parts.h"
#include <stdio.h>
#include <string.h>

/* ---- this side ---- */

static void look_at_state(struct vm_look *l)
{
    int state = VIR_DOMAIN_NOSTATE, type = VIR_DOMAIN_JOB_NONE, n = 0;
    virTypedParameterPtr params = NULL;
    if (virt.virDomainGetState(l->domain, &state, NULL, 0) < 0 || virt.virDomainIsActive(l->domain) != 1) {
        vm_tell(l, FINDING_VM_NOT_RUNNING, "", NULL, "%s does not run here: it is %s", l->xml.name,
                vm_state_word(state));
        return;
    }
    if (state == VIR_DOMAIN_CRASHED || state == VIR_DOMAIN_SHUTDOWN || state == VIR_DOMAIN_PMSUSPENDED)
        vm_tell(l, FINDING_VM_NOT_RUNNING, "", NULL, "%s cannot be moved while it is %s", l->xml.name,
                vm_state_word(state));
    else if (state == VIR_DOMAIN_PAUSED)
        vm_tell(l, FINDING_VM_PAUSED, "", NULL, "%s is paused, and stays so at the destination", l->xml.name);
    if (virt.virDomainGetJobStats(l->domain, &type, &params, &n, 0) < 0)
        return;
    virt.virTypedParamsFree(params, n);
    if (type != VIR_DOMAIN_JOB_NONE)
        vm_tell(l, FINDING_VM_BUSY, "", NULL, "libvirt works on %s already: it has a job", l->xml.name);
}

static void look_at_definition(struct vm_look *l)
{
    const struct vm_request *q = l->request;
    if (l->persistent && (!q->persistent || !q->undefine_source))
        vm_tell(l, FINDING_VM_DEFINITION_STAYS, "", NULL, "%s%s%s", l->xml.name,
                q->undefine_source ? "" : " stays defined here after it has left",
                q->persistent        ? ""
                : q->undefine_source ? " is transient at the destination"
                                     : ", and is transient at the destination");
    if (strlen(l->xml.name) >= sizeof l->plan->name)
        vm_tell(l, FINDING_VM_NAME_TOO_LONG, "", NULL, "the name %.70s... has more than %zu characters",
                l->xml.name, sizeof l->plan->name - 1);
}

static void look_at_devices(struct vm_look *l)
{
    for (size_t i = 0; i < l->xml.ndevices; i++) {
        const struct vm_device *d = &l->xml.devices[i];
        if (strcmp(d->type, "pci") == 0 || strcmp(d->type, "mdev") == 0)
            vm_tell(l, FINDING_VM_DEVICE, d->address, NULL,
                    "%s has the %s device %s: whether QEMU can move it depends on its driver", l->xml.name,
                    d->type, d->address);
        else
            vm_tell(l, FINDING_VM_DEVICE, d->address,
                    "Take it away from the guest first: virsh detach-device.",
                    "%s has a %s device of this host, which QEMU cannot move", l->xml.name, d->type);
    }
}

static void look_at_options(struct vm_look *l)
{
    const struct migration_options *o = &l->request->options, *d = &l->request->defaults;
    const struct {
        bool given;
        const char *name;
    } given[] = {{o->verify != d->verify, "verify"},
                 {o->gate != d->gate, "gate"},
                 {o->compression != d->compression, "compression"},
                 {o->checksum != d->checksum, "checksum"},
                 {o->blackout_limit_usec != d->blackout_limit_usec, "blackout-limit"}};
    for (size_t i = 0; i < ELEMENTS(given); i++)
        if (given[i].given && !l->plan->native)
            vm_tell(l, FINDING_VM_OPTION_UNSUPPORTED, given[i].name, NULL,
                    "--%s is an option of migd's own engine, and %s would be moved by QEMU", given[i].name,
                    l->xml.name);
    if (!l->request->tls)
        vm_tell(l, FINDING_TRANSPORT_PLAIN, l->plan->host, NULL,
                "memory and devices of %s would travel to %s in plain text", l->xml.name, l->plan->host);
}

/* Until then cpu_physical_memory_sync_dirty_bitmap() leaves the TLBs of TCG as they are. */
#define QEMU_TELLS_TCG UINT64_C(9000000)

static void look_at_emulation(struct vm_look *l)
{
    unsigned long qemu = 0;
    if (l->plan->native || strcmp(l->xml.type, "qemu") != 0 ||
        virt.virConnectGetVersion(virt_link_connection(l->here), &qemu) < 0 || qemu >= QEMU_TELLS_TCG)
        return;
    vm_tell(
        l, FINDING_VM_TCG_LOSES_WRITES, "", NULL,
        "QEMU %lu.%lu.%lu computes the CPUs of %s itself (TCG), and may lose what they write while it moves "
        "its memory",
        qemu / 1000000, qemu / 1000 % 1000, qemu % 1000, l->xml.name);
}

static int read_domain(struct vm_look *l, struct mig_error *err)
{
    int r = virt_link_domain(l->here, l->request->name, NULL, &l->domain, err);
    if (r < 0)
        return r;
    l->persistent = virt.virDomainIsPersistent(l->domain) == 1;
    l->text = virt.virDomainGetXMLDesc(l->domain, 0);
    if (!l->text)
        return virt_error(err, MIG_ERR_FAILED, "libvirt does not tell the definition of %.80s",
                          l->request->name);
    return vm_xml_parse(&l->xml, l->text, err);
}

static bool is_paused(const struct vm_look *l)
{
    int state = VIR_DOMAIN_NOSTATE;
    return virt.virDomainGetState(l->domain, &state, NULL, 0) == 0 && state == VIR_DOMAIN_PAUSED;
}

static void clear(struct vm_look *l)
{
    free(l->text);
    if (l->domain)
        virt.virDomainFree(l->domain);
    virt_link_free(l->there);
    virt_link_free(l->here);
}

int vm_check(const struct vm_request *q, struct vm_plan *ret, struct findings *f, struct mig_error *err)
{
    struct vm_look *l = calloc(1, sizeof *l);
    if (!l)
        return mig_error_oom(err);
    *l = (struct vm_look){.request = q, .findings = f, .plan = ret};
    int r = virt_link_open(&l->here, q->uri, err);
    if (r == 0)
        r = read_domain(l, err);
    struct vm_request asked = *q;
    if (r == 0) {
        asked.paused = is_paused(l);
        r = vm_plan_make(ret, &asked, &l->xml, l->persistent, err);
    }
    if (r == 0) {
        look_at_state(l);
        look_at_definition(l);
        look_at_devices(l);
        vm_look_at_disks(l);
        look_at_options(l);
        look_at_emulation(l);
        vm_look_at_destination(l);
        if (l->out_of_memory)
            r = mig_error_oom(err);
    }
    clear(l);
    free(l);
    return r;
}

/* ---- the list ---- */

const char *vm_state_word(int state)
{
    static const char *const words[] = {
        [VIR_DOMAIN_NOSTATE] = "unknown",      [VIR_DOMAIN_RUNNING] = "running",
        [VIR_DOMAIN_BLOCKED] = "running",      [VIR_DOMAIN_PAUSED] = "paused",
        [VIR_DOMAIN_SHUTDOWN] = "in-shutdown", [VIR_DOMAIN_SHUTOFF] = "shut-off",
        [VIR_DOMAIN_CRASHED] = "crashed",      [VIR_DOMAIN_PMSUSPENDED] = "suspended"};
    return state >= 0 && (size_t)state < ELEMENTS(words) ? words[state] : "unknown";
}

static void summarize(virDomainPtr d, struct vm_summary *s)
{
    virDomainInfo info = {0};
    virDomainMemoryStatStruct memory[VIR_DOMAIN_MEMORY_STAT_NR];
    const char *name = virt.virDomainGetName(d);
    snprintf(s->name, sizeof s->name, "%s", name ? name : "");
    virt.virDomainGetUUIDString(d, s->uuid);
    s->persistent = virt.virDomainIsPersistent(d) == 1;
    s->active = virt.virDomainIsActive(d) == 1;
    if (virt.virDomainGetInfo(d, &info) == 0) {
        snprintf(s->state, sizeof s->state, "%s", vm_state_word(info.state));
        s->memory_bytes = (uint64_t)info.maxMem << 10;
        s->vcpus = info.nrVirtCpu;
    }
    int n = s->active ? virt.virDomainMemoryStats(d, memory, VIR_DOMAIN_MEMORY_STAT_NR, 0) : 0;
    for (int i = 0; i < n; i++)
        if (memory[i].tag == VIR_DOMAIN_MEMORY_STAT_RSS)
            s->resident_bytes = (uint64_t)memory[i].val << 10;
}

int vm_list(const char *uri, struct vm_summary **ret, size_t *ret_count, struct mig_error *err)
{
    _cleanup_(virt_link_freep) struct virt_link *l = NULL;
    virDomainPtr *domains = NULL;
    int r = virt_link_open(&l, uri, err);
    if (r < 0)
        return r;
    int n = virt.virConnectListAllDomains(virt_link_connection(l), &domains, 0);
    if (n < 0)
        return virt_error(err, MIG_ERR_FAILED, "libvirt does not list its domains");
    struct vm_summary *list = calloc((size_t)n + 1, sizeof *list);
    for (int i = 0; i < n; i++) {
        if (list)
            summarize(domains[i], &list[i]);
        virt.virDomainFree(domains[i]);
    }
    free(domains);
    if (!list)
        return mig_error_oom(err);
    *ret = list;
    *ret_count = (size_t)n;
    return 0;
}

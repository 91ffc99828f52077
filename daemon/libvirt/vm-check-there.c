/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The destination of a domain that is to be moved: its libvirt is asked for what the domain needs. */
#include "base/format.h"
#include "libvirt/vm-check-parts.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int vm_tell_finding(struct vm_look *l, enum finding_code code, const char *subject, const char *remedy,
                    const char *format, ...)
{
    char text[sizeof((struct finding *)0)->message];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    size_t before = l->findings->count;
    int r = findings_add(l->findings, code, subject, remedy, "%s", text);
    if (r == 0 && l->findings->count > before)
        l->findings->items[before].destination = l->at_destination;
    return r;
}

/* <host><uuid>...</uuid> of the capabilities, in place; NULL: they do not say. */
static char *host_uuid(char *capabilities)
{
    char *from = capabilities ? strstr(capabilities, "<uuid>") : NULL,
         *to = from ? strstr(from, "</uuid>") : NULL;
    if (!to)
        return NULL;
    *to = '\0';
    return from + strlen("<uuid>");
}

static void compare_hosts(struct vm_look *l)
{
    char *here = virt.virConnectGetCapabilities(virt_link_connection(l->here));
    char *there = virt.virConnectGetCapabilities(virt_link_connection(l->there));
    const char *a = host_uuid(here), *b = host_uuid(there);
    if (a && b && strcmp(a, b) == 0)
        vm_tell(l, FINDING_VM_SAME_HOST, l->plan->host, NULL,
                "the libvirt of %s is that of this host: both have the UUID %s", l->plan->host, a);
    free(here);
    free(there);
}

static void look_for_twins(struct vm_look *l)
{
    _cleanup_domain_ virDomainPtr same = NULL, other = NULL;
    const char *name = vm_plan_name_there(l->plan);
    char uuid[VIR_UUID_STRING_BUFLEN] = "";
    same = virt.virDomainLookupByUUIDString(virt_link_connection(l->there), l->xml.uuid);
    l->plan->defined_there = same && virt.virDomainIsPersistent(same) == 1;
    if (same && virt.virDomainIsActive(same) == 1)
        vm_tell(l, FINDING_VM_EXISTS, l->xml.uuid, NULL, "a domain with the UUID of %s is active at %s", name,
                l->plan->host);
    other = virt.virDomainLookupByName(virt_link_connection(l->there), name);
    if (other && virt.virDomainGetUUIDString(other, uuid) == 0 && strcmp(uuid, l->xml.uuid) != 0)
        vm_tell(l, FINDING_VM_EXISTS, name, NULL, "%s has another domain named %s", l->plan->host, name);
}

static void look_for_machine(struct vm_look *l)
{
    const struct vm_xml *x = &l->xml;
    char *found = virt.virConnectGetDomainCapabilities(
        virt_link_connection(l->there), NULL, x->arch[0] ? x->arch : NULL, x->machine[0] ? x->machine : NULL,
        x->type[0] ? x->type : NULL, 0);
    struct mig_error said = MIG_ERROR_INIT;
    if (!found) {
        virt_error(&said, MIG_ERR_FAILED, "machine %s (%s, %s)", x->machine, x->arch, x->type);
        vm_tell(l, FINDING_VM_MACHINE_MISSING, x->machine, NULL, "%s has not what %s runs on: %s",
                l->plan->host, x->name, said.message);
    }
    free(found);
}

/* A CPU that QEMU computes is the same everywhere; what KVM gives is compared. The expanded CPU stands in the
 * XML of a running domain. */
static void compare_cpu(struct vm_look *l)
{
    if (strcmp(l->xml.type, "kvm") != 0)
        return;
    bool same_as_host = strcmp(l->xml.cpu_mode, "host-passthrough") == 0;
    char *capabilities = same_as_host ? virt.virConnectGetCapabilities(virt_link_connection(l->here)) : NULL;
    const char *text = same_as_host ? capabilities : l->text;
    const char *from = text ? strstr(text, same_as_host ? "<cpu>" : "<cpu ") : NULL;
    const char *to = from ? strstr(from, "</cpu>") : NULL;
    char *cpu = to ? strndup(from, (size_t)(to - from) + strlen("</cpu>")) : NULL;
    if (cpu &&
        virt.virConnectCompareCPU(virt_link_connection(l->there), cpu, 0) == VIR_CPU_COMPARE_INCOMPATIBLE)
        vm_tell(l, FINDING_VM_CPU_DIFFERS, l->xml.cpu_mode, NULL,
                "the CPU of %s has not all that %s was given (%s)", l->plan->host, l->xml.name,
                l->xml.cpu_mode[0] ? l->xml.cpu_mode : "custom");
    free(cpu);
    free(capabilities);
}

static void compare_versions(struct vm_look *l)
{
    unsigned long here = 0, there = 0;
    if (virt.virConnectGetVersion(virt_link_connection(l->here), &here) < 0 ||
        virt.virConnectGetVersion(virt_link_connection(l->there), &there) < 0)
        return;
    if (there && there < here)
        vm_tell(l, FINDING_VM_QEMU_OLDER, "", NULL, "QEMU is %lu.%lu.%lu at %s and %lu.%lu.%lu here",
                there / 1000000, there / 1000 % 1000, there % 1000, l->plan->host, here / 1000000,
                here / 1000 % 1000, here % 1000);
}

static void look_at_memory(struct vm_look *l)
{
    uint64_t free_bytes = virt.virNodeGetFreeMemory(virt_link_connection(l->there));
    if (free_bytes && free_bytes < l->xml.memory_bytes)
        vm_tell(l, FINDING_VM_MEMORY_SHORT, "", NULL, "%s has %s of free memory, and %s has %s",
                l->plan->host, FORMAT_BYTES(free_bytes), l->xml.name, FORMAT_BYTES(l->xml.memory_bytes));
}

void vm_look_at_destination(struct vm_look *l)
{
    struct mig_error said = MIG_ERROR_INIT;
    l->at_destination = true;
    if (virt_link_open(&l->there, l->plan->destination_uri, &said) < 0) {
        vm_tell(l, FINDING_VM_DESTINATION_UNREACHABLE, l->plan->host, said.hint, "%s", said.message);
        return;
    }
    compare_hosts(l);
    look_for_twins(l);
    look_for_machine(l);
    compare_cpu(l);
    compare_versions(l);
    look_at_memory(l);
}

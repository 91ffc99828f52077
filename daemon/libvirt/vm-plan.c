/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-plan.h"
#include "base/clock.h"
#include "transport/address.h"
#include <inttypes.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

/* In the order of virsh's manual. */
static const struct {
    unsigned flag;
    const char *word;
} flags[] = {
    {VIR_MIGRATE_LIVE, "live"},
    {VIR_MIGRATE_PEER2PEER, "p2p"},
    {VIR_MIGRATE_PERSIST_DEST, "persistent"},
    {VIR_MIGRATE_UNDEFINE_SOURCE, "undefinesource"},
    {VIR_MIGRATE_PAUSED, "suspend"},
    {VIR_MIGRATE_UNSAFE, "unsafe"},
    {VIR_MIGRATE_AUTO_CONVERGE, "auto-converge"},
    {VIR_MIGRATE_PARALLEL, "parallel"},
    {VIR_MIGRATE_TLS, "tls"},
};

int vm_engine_from_string(const char *s, enum vm_engine *ret, struct mig_error *err)
{
    static const char *const words[] = {"auto", "libvirt", "native"};
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (strcmp(words[i], s) == 0) {
            *ret = (enum vm_engine)i;
            return 0;
        }
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "there is no engine \"%.40s\"", s);
    mig_error_hint(err, "the engines are auto, libvirt, native");
    return r;
}

/* Why migd does not move the memory where nobody chose an engine; NULL: it does. */
static const char *against_native(const struct vm_request *q, const struct vm_xml *x)
{
    if (!vm_xml_memory_is_shared_file(x))
        return "its memory is not in shared files, which the native engine would need";
    if (x->nmonitors == 0)
        return "its QEMU has no second monitor, which the native engine would need";
    if (q->paused)
        return "it is paused";
    if (q->auto_converge)
        return "auto-converge is something that QEMU does";
    return q->native_ready ? NULL : q->not_native[0] ? q->not_native : "the destination was not asked";
}

static int refuse_native(const struct vm_xml *x, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0,
                          "engine=native: the memory of %.80s is not in shared files, or its QEMU has no "
                          "second monitor",
                          x->name);
    mig_error_hint(err,
                   "migctl libvirt prepare shows what to change; --engine libvirt has QEMU move everything");
    return r;
}

/* Where its migration fails, it would be let go on. */
static int refuse_paused(const struct vm_xml *x, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_WRONG_STATE, 0,
                          "engine=native: %.80s is paused, and migd moves only what runs", x->name);
    mig_error_hint(err, "virsh resume it first, or let QEMU move it: --engine libvirt");
    return r;
}

static int choose_engine(struct vm_plan *p, const struct vm_request *q, const struct vm_xml *x,
                         struct mig_error *err)
{
    const char *against = against_native(q, x), *why = "it was asked for";
    if (q->engine == VM_ENGINE_NATIVE && (!vm_xml_memory_is_shared_file(x) || x->nmonitors == 0))
        return refuse_native(x, err);
    if (q->engine == VM_ENGINE_NATIVE && q->paused)
        return refuse_paused(x, err);
    p->native = q->engine == VM_ENGINE_NATIVE || (q->engine == VM_ENGINE_AUTO && !against);
    if (q->engine == VM_ENGINE_AUTO)
        why = against ? against : "migd can move its memory, and the destination waits for that";
    snprintf(p->engine, sizeof p->engine, "%s", p->native ? "native" : "libvirt");
    snprintf(p->why, sizeof p->why, "%s", why);
    return 0;
}

static int make_addresses(struct vm_plan *p, const struct vm_request *q, struct mig_error *err)
{
    struct address a;
    int r = address_parse(&a, q->host, err);
    if (r == 0 && (a.is_unix || !*a.host))
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                          "\"%.100s\" is not a host that libvirt could reach", q->host);
    if (r < 0)
        return r;
    bool v6 = strchr(a.host, ':') != NULL;
    const char *at = strstr(q->destination_uri, "%h"), *open = v6 ? "[" : "", *close = v6 ? "]" : "";
    snprintf(p->host, sizeof p->host, "%s", a.host);
    snprintf(p->uri, sizeof p->uri, "%s", q->uri);
    snprintf(p->data_uri, sizeof p->data_uri, "tcp://%s%s%s", open, a.host, close);
    if (snprintf(p->destination_uri, sizeof p->destination_uri, "%.*s%s%s%s%s",
                 at ? (int)(at - q->destination_uri) : (int)strlen(q->destination_uri), q->destination_uri,
                 open, at ? a.host : "", close, at ? at + 2 : "") >= (int)sizeof p->destination_uri)
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "the destination is too long");
    return r;
}

static void choose_flags(struct vm_plan *p, const struct vm_request *q)
{
    const struct migration_options *o = &q->options;
    p->flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER;
    if (q->persistent)
        p->flags |= VIR_MIGRATE_PERSIST_DEST;
    if (q->undefine_source && p->persistent)
        p->flags |= VIR_MIGRATE_UNDEFINE_SOURCE;
    /* What libvirt starts there by itself may run at both hosts: when the answer of its last step is lost, it
     * starts the guest here too. */
    p->flags |= VIR_MIGRATE_PAUSED;
    p->resume = !q->paused;
    if (o->allow[FINDING_VM_DISK_LOCAL])
        p->flags |= VIR_MIGRATE_UNSAFE;
    /* Off unless asked for: it makes the guest's CPUs stand still up to 99 % of the time, which takes writes
     * of CPUs away and leaves those of devices. */
    if (q->auto_converge && !p->native)
        p->flags |= VIR_MIGRATE_AUTO_CONVERGE;
    if (o->connections > 1 && !p->native)
        p->flags |= VIR_MIGRATE_PARALLEL;
    if (q->tls)
        p->flags |= VIR_MIGRATE_TLS;
}

uint64_t vm_plan_cap(const struct vm_plan *p, const struct migration_options *o)
{
    uint64_t a = o->bandwidth_bytes_per_sec, b = p->total_bytes_per_sec;
    return a && b ? MIN(a, b) : a ? a : b;
}

uint64_t vm_plan_cap_mib(const struct vm_plan *p, const struct migration_options *o)
{
    return div_round_up(vm_plan_cap(p, o), MIB);
}

int vm_plan_make(struct vm_plan *ret, const struct vm_request *q, const struct vm_xml *x, bool persistent,
                 struct mig_error *err)
{
    struct vm_plan p = {.memory_bytes = x->memory_bytes, .persistent = persistent, .options = q->options};
    int r = choose_engine(&p, q, x, err);
    if (r == 0)
        r = make_addresses(&p, q, err);
    if (r < 0)
        return r;
    snprintf(p.uuid, sizeof p.uuid, "%s", x->uuid);
    snprintf(p.name, sizeof p.name, "%.*s", (int)sizeof p.name - 1, x->name);
    if (strcmp(q->options.peer_domain, x->name) != 0)
        snprintf(p.peer_name, sizeof p.peer_name, "%s", q->options.peer_domain);
    choose_flags(&p, q);
    p.total_bytes_per_sec = q->total_bytes_per_sec;
    p.bandwidth_mib = p.native ? 0 : vm_plan_cap_mib(&p, &q->options);
    p.max_downtime_msec = MAX(q->options.max_downtime_usec / USEC_PER_MSEC, UINT64_C(1));
    p.connections = q->options.connections > 1 && !p.native ? q->options.connections : 1;
    *ret = p;
    return 0;
}

const char *vm_plan_name_there(const struct vm_plan *p)
{
    return p->peer_name[0] ? p->peer_name : p->name;
}

const char *vm_plan_flag(const struct vm_plan *p, size_t i)
{
    for (size_t k = 0; k < ELEMENTS(flags); k++)
        if ((p->flags & flags[k].flag) && i-- == 0)
            return flags[k].word;
    return NULL;
}

void vm_plan_command(const struct vm_plan *p, char *ret, size_t size)
{
    size_t n = (size_t)snprintf(ret, size, "virsh -c %s migrate", p->uri);
    const char *word;
    for (size_t i = 0; n < size && (word = vm_plan_flag(p, i)); i++)
        n += (size_t)snprintf(ret + n, size - n, " --%s", word);
    if (n < size)
        n += (size_t)snprintf(ret + n, size - n, " %s %s %s", p->name, p->destination_uri, p->data_uri);
    if (n < size && p->peer_name[0])
        n += (size_t)snprintf(ret + n, size - n, " --dname %s", p->peer_name);
    if (n < size && p->bandwidth_mib)
        n += (size_t)snprintf(ret + n, size - n, " --bandwidth %" PRIu64, p->bandwidth_mib);
    if (n < size && p->connections > 1)
        n += (size_t)snprintf(ret + n, size - n, " --parallel-connections %u", p->connections);
    if (n < size && p->resume)
        snprintf(ret + n, size - n, " && virsh -c %s resume %s", p->destination_uri, vm_plan_name_there(p));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-stats.h"
#include "base/clock.h"

static uint64_t get(virTypedParameterPtr params, int n, const char *name)
{
    unsigned long long value = 0;
    virt.virTypedParamsGetULLong(params, n, name, &value);
    return value;
}

void vm_figures_read(struct vm_figures *ret, int type, virTypedParameterPtr params, int n)
{
    uint64_t page_size = get(params, n, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
    *ret = (struct vm_figures){
        .active = type == VIR_DOMAIN_JOB_BOUNDED || type == VIR_DOMAIN_JOB_UNBOUNDED,
        .iteration = get(params, n, VIR_DOMAIN_JOB_MEMORY_ITERATION),
        .total_bytes = get(params, n, VIR_DOMAIN_JOB_MEMORY_TOTAL),
        .remaining_bytes = get(params, n, VIR_DOMAIN_JOB_MEMORY_REMAINING),
        .processed_bytes = get(params, n, VIR_DOMAIN_JOB_MEMORY_PROCESSED),
        .constant_pages = get(params, n, VIR_DOMAIN_JOB_MEMORY_CONSTANT),
        .normal_pages = get(params, n, VIR_DOMAIN_JOB_MEMORY_NORMAL),
        .dirty_bytes_per_sec =
            get(params, n, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) * (page_size ? page_size : 4096),
        .bytes_per_sec = get(params, n, VIR_DOMAIN_JOB_MEMORY_BPS),
        .downtime_usec = get(params, n, VIR_DOMAIN_JOB_DOWNTIME) * USEC_PER_MSEC,
        .setup_usec = get(params, n, VIR_DOMAIN_JOB_SETUP_TIME) * USEC_PER_MSEC,
    };
}

int vm_figures_ask(struct vm_figures *ret, virDomainPtr domain, bool completed)
{
    virTypedParameterPtr params = NULL;
    int type = VIR_DOMAIN_JOB_NONE, n = 0;
    if (virt.virDomainGetJobStats(domain, &type, &params, &n,
                                  completed ? VIR_DOMAIN_JOB_STATS_COMPLETED : 0) < 0)
        return -EIO;
    vm_figures_read(ret, type, params, n);
    virt.virTypedParamsFree(params, n);
    return 0;
}

void vm_figures_count(struct migration_counters *c, const struct vm_figures *f, bool ended)
{
    c->memory_bytes = MAX(c->memory_bytes, f->total_bytes);
    c->processed_bytes = MAX(c->processed_bytes, f->processed_bytes);
    c->wire_bytes = c->processed_bytes;
    c->zero_pages = MAX(c->zero_pages, f->constant_pages);
    c->normal_pages = MAX(c->normal_pages, f->normal_pages);
    c->iterations = MAX(c->iterations, f->iteration);
    if (f->setup_usec)
        c->setup_usec = f->setup_usec;
    if (f->bytes_per_sec)
        c->bandwidth = f->bytes_per_sec;
    if (f->dirty_bytes_per_sec)
        c->dirty_rate = f->dirty_bytes_per_sec;
    c->remaining_bytes = ended ? 0 : f->remaining_bytes;
    c->remaining_usec = !ended && f->bytes_per_sec
                            ? (uint64_t)((double)f->remaining_bytes * USEC_PER_SEC / (double)f->bytes_per_sec)
                            : 0;
    if (ended)
        c->downtime_usec = f->downtime_usec;
    else if (f->downtime_usec)
        c->expected_downtime_usec = f->downtime_usec;
}

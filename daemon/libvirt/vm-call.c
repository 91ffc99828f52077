/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-call.h"
#include "base/fds.h"
#include <string.h>
#include <sys/eventfd.h>

static int add_parameters(const struct vm_plan *p, virTypedParameterPtr *params, int *n)
{
    int max = 0, r = virt.virTypedParamsAddString(params, n, &max, VIR_MIGRATE_PARAM_URI, p->data_uri);
    if (r == 0 && p->peer_name[0])
        r = virt.virTypedParamsAddString(params, n, &max, VIR_MIGRATE_PARAM_DEST_NAME, p->peer_name);
    if (r == 0 && p->bandwidth_mib)
        r = virt.virTypedParamsAddULLong(params, n, &max, VIR_MIGRATE_PARAM_BANDWIDTH, p->bandwidth_mib);
    if (r == 0 && p->connections > 1)
        r = virt.virTypedParamsAddInt(params, n, &max, VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
                                      (int)p->connections);
    if (r == 0 && (p->flags & VIR_MIGRATE_TLS))
        r = virt.virTypedParamsAddString(params, n, &max, VIR_MIGRATE_PARAM_TLS_DESTINATION, p->host);
    return r;
}

static void *call(void *userdata)
{
    struct vm_call *c = userdata;
    const struct vm_plan *p = c->plan;
    virTypedParameterPtr params = NULL;
    int n = 0, r = add_parameters(p, &params, &n);
    if (r == 0)
        r = virt.virDomainMigrateToURI3(c->domain, p->destination_uri, params, (unsigned)n, p->flags);
    if (r < 0)
        virt_error(&c->error, MIG_ERR_FAILED, "libvirt could not move %s to %s", p->name, p->host);
    virt.virTypedParamsFree(params, n);
    c->result = r;
    eventfd_write(c->end_fd, 1);
    return NULL;
}

int vm_call_begin(struct vm_call *c, const struct vm_plan *plan, struct mig_error *err)
{
    c->plan = plan;
    c->end_fd = eventfd(0, EFD_CLOEXEC);
    if (c->end_fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "no event descriptor: %s", strerror(errno));
    int r = virt_link_open(&c->link, plan->uri, err);
    if (r == 0)
        r = virt_link_domain(c->link, plan->name, plan->uuid, &c->domain, err);
    if (r < 0)
        return r;
    r = pthread_create(&c->thread, NULL, call, c);
    if (r)
        return mig_error_set(err, MIG_ERR_NO_MEMORY, r, "cannot start a thread: %s", strerror(r));
    c->started = true;
    return 0;
}

void vm_call_wait(struct vm_call *c)
{
    if (c->started)
        pthread_join(c->thread, NULL);
    c->started = false;
}

void vm_call_end(struct vm_call *c)
{
    vm_call_wait(c);
    if (c->domain)
        virt.virDomainFree(c->domain);
    c->domain = NULL;
    virt_link_free(c->link);
    c->link = NULL;
    close_fd(&c->end_fd);
}

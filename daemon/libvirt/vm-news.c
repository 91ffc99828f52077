/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-news.h"
#include <pthread.h>

/* Of the listener and of libvirt: the callback may run until libvirt frees its own. */
struct vm_news {
    pthread_mutex_t lock;
    unsigned refs;
    virConnectPtr connection;
    int id;
    bool completed;
    struct vm_figures figures;
};

static void unref(void *userdata)
{
    struct vm_news *n = userdata;
    pthread_mutex_lock(&n->lock);
    bool last = --n->refs == 0;
    pthread_mutex_unlock(&n->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static void on_completed(virConnectPtr connection, virDomainPtr domain, virTypedParameterPtr params, int n,
                         void *userdata)
{
    struct vm_news *news = userdata;
    pthread_mutex_lock(&news->lock);
    vm_figures_read(&news->figures, VIR_DOMAIN_JOB_COMPLETED, params, n);
    news->completed = true;
    pthread_mutex_unlock(&news->lock);
}

struct vm_news *vm_news_listen(virConnectPtr connection, virDomainPtr domain)
{
    struct vm_news *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    pthread_mutex_init(&n->lock, NULL);
    n->refs = 2;
    n->connection = connection;
    n->id = virt.virConnectDomainEventRegisterAny(connection, domain, VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
                                                  VIR_DOMAIN_EVENT_CALLBACK(on_completed), n, unref);
    if (n->id >= 0)
        return n;
    n->refs = 1;
    unref(n);
    return NULL;
}

bool vm_news_completed(struct vm_news *n, struct vm_figures *ret)
{
    if (!n)
        return false;
    pthread_mutex_lock(&n->lock);
    bool completed = n->completed;
    if (completed)
        *ret = n->figures;
    pthread_mutex_unlock(&n->lock);
    return completed;
}

struct vm_news *vm_news_end(struct vm_news *n)
{
    if (n) {
        virt.virConnectDomainEventDeregisterAny(n->connection, n->id);
        unref(n);
    }
    return NULL;
}

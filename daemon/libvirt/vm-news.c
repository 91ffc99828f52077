/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-news.h"
#include "base/clock.h"
#include <pthread.h>

/* Of the listener and of libvirt: the callback may run until libvirt frees its own. */
struct vm_news {
    pthread_mutex_t lock;
    unsigned refs;
    virConnectPtr connection;
    int ids[2];
    uint64_t stopped_usec;
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

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *userdata)
{
    struct vm_news *news = userdata;
    if (event != VIR_DOMAIN_EVENT_SUSPENDED || detail != VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED)
        return 0;
    pthread_mutex_lock(&news->lock);
    news->stopped_usec = now_usec();
    pthread_mutex_unlock(&news->lock);
    return 0;
}

static int listen_to(struct vm_news *n, virDomainPtr domain, int event,
                     virConnectDomainEventGenericCallback callback)
{
    pthread_mutex_lock(&n->lock);
    n->refs++;
    pthread_mutex_unlock(&n->lock);
    int id = virt.virConnectDomainEventRegisterAny(n->connection, domain, event, callback, n, unref);
    if (id < 0)
        unref(n);
    return id;
}

struct vm_news *vm_news_listen(virConnectPtr connection, virDomainPtr domain)
{
    struct vm_news *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    pthread_mutex_init(&n->lock, NULL);
    n->refs = 1;
    n->connection = connection;
    n->ids[0] =
        listen_to(n, domain, VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_completed));
    n->ids[1] = listen_to(n, domain, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle));
    return n;
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

uint64_t vm_news_stopped(struct vm_news *n)
{
    if (!n)
        return 0;
    pthread_mutex_lock(&n->lock);
    uint64_t usec = n->stopped_usec;
    pthread_mutex_unlock(&n->lock);
    return usec;
}

struct vm_news *vm_news_end(struct vm_news *n)
{
    if (n) {
        for (size_t i = 0; i < ELEMENTS(n->ids); i++)
            if (n->ids[i] >= 0)
                virt.virConnectDomainEventDeregisterAny(n->connection, n->ids[i]);
        unref(n);
    }
    return NULL;
}

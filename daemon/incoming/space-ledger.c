/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/space-ledger.h"
#include "base/fds.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

struct space_promise {
    struct space_promise *next;
    const void *who;
    int fd;
    dev_t dev;
    uint64_t file_bytes;
    bool in_memory;
};

struct space_ledger {
    _Atomic unsigned references;
    pthread_mutex_t lock; /* of what follows */
    struct space_promise *first;
};

int space_ledger_new(struct space_ledger **ret)
{
    struct space_ledger *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->references = 1;
    pthread_mutex_init(&l->lock, NULL);
    *ret = l;
    return 0;
}

struct space_ledger *space_ledger_ref(struct space_ledger *l)
{
    if (l)
        l->references++;
    return l;
}

static void drop(struct space_promise *p)
{
    close_fd(&p->fd);
    free(p);
}

struct space_ledger *space_ledger_unref(struct space_ledger *l)
{
    if (!l || --l->references > 0)
        return NULL;
    for (struct space_promise *p; (p = l->first);) {
        l->first = p->next;
        drop(p);
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

int space_ledger_promise(struct space_ledger *l, const void *who, int fd, uint64_t file_bytes, bool in_memory)
{
    struct stat st;
    struct space_promise *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    *p = (struct space_promise){.who = who, .file_bytes = file_bytes, .in_memory = in_memory};
    p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (p->fd < 0 || fstat(p->fd, &st) < 0) {
        int r = -errno;
        drop(p);
        return r;
    }
    p->dev = st.st_dev;
    pthread_mutex_lock(&l->lock);
    p->next = l->first;
    l->first = p;
    pthread_mutex_unlock(&l->lock);
    return 0;
}

void space_ledger_forget(struct space_ledger *l, const void *who)
{
    pthread_mutex_lock(&l->lock);
    for (struct space_promise **at = &l->first; *at;) {
        struct space_promise *p = *at;
        if (p->who != who) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        drop(p);
    }
    pthread_mutex_unlock(&l->lock);
}

static uint64_t sum(struct space_ledger *l, const void *who, const dev_t *dev)
{
    uint64_t bytes = 0;
    struct stat st;
    if (!l)
        return 0;
    pthread_mutex_lock(&l->lock);
    for (const struct space_promise *p = l->first; p; p = p->next) {
        if (p->who == who || (dev ? p->dev != *dev : !p->in_memory) || fstat(p->fd, &st) < 0)
            continue;
        uint64_t has = (uint64_t)st.st_blocks * 512;
        bytes += p->file_bytes > has ? p->file_bytes - has : 0;
    }
    pthread_mutex_unlock(&l->lock);
    return bytes;
}

uint64_t space_ledger_on(struct space_ledger *l, const void *who, dev_t dev)
{
    return sum(l, who, &dev);
}

uint64_t space_ledger_in_memory(struct space_ledger *l, const void *who)
{
    return sum(l, who, NULL);
}

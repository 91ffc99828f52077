/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/reservation.h"
#include <stdio.h>
#include <string.h>

struct reservation {
    char address[96], owner[64], name[96];
    uint64_t until_usec; /* UINT64_MAX: until it is given back */
};

struct reservations {
    struct reservation *items;
    size_t n;
};

int reservations_new(struct reservations **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

struct reservations *reservations_free(struct reservations *r)
{
    if (r)
        free(r->items);
    free(r);
    return NULL;
}

static void drop(struct reservations *r, size_t i)
{
    r->items[i] = r->items[--r->n];
}

static void expire(struct reservations *r, uint64_t now_usec)
{
    for (size_t i = r->n; i-- > 0;)
        if (r->items[i].until_usec <= now_usec)
            drop(r, i);
}

static struct reservation *find(const struct reservations *r, const char *address)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->items[i].address, address) == 0)
            return &r->items[i];
    return NULL;
}

int reservations_add(struct reservations *r, const char *address, const char *owner, const char *name,
                     uint64_t now_usec, uint64_t until_usec, struct mig_error *err)
{
    expire(r, now_usec);
    struct reservation *found = find(r, address);
    if (found && strcmp(found->owner, owner) != 0)
        return mig_error_set(err, MIG_ERR_BUSY, 0, "device %.80s is reserved for %.80s", address,
                             found->name);
    if (!found) {
        if (r->n >= RESERVATIONS_MAX)
            return mig_error_set(err, MIG_ERR_LIMIT, 0, "%u devices are reserved already", RESERVATIONS_MAX);
        struct reservation *items = reallocarray(r->items, r->n + 1, sizeof *items);
        if (!items)
            return mig_error_oom(err);
        r->items = items;
        found = &items[r->n++];
    }
    snprintf(found->address, sizeof found->address, "%s", address);
    snprintf(found->owner, sizeof found->owner, "%s", owner);
    snprintf(found->name, sizeof found->name, "%s", name);
    found->until_usec = until_usec;
    return 0;
}

size_t reservations_take(struct reservations *r, const char *owner, uint64_t now_usec)
{
    size_t n = 0;
    expire(r, now_usec);
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->items[i].owner, owner) == 0) {
            r->items[i].until_usec = UINT64_MAX;
            n++;
        }
    return n;
}

size_t reservations_release(struct reservations *r, const char *owner)
{
    size_t n = 0;
    for (size_t i = r->n; i-- > 0;)
        if (strcmp(r->items[i].owner, owner) == 0) {
            drop(r, i);
            n++;
        }
    return n;
}

const char *reservations_holder(const struct reservations *r, const char *address, const char *owner,
                                uint64_t now_usec)
{
    const struct reservation *found = find(r, address);
    bool valid = found && found->until_usec > now_usec && strcmp(found->owner, owner) != 0;
    return valid ? found->name : NULL;
}

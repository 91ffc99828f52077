/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/announced.h"
#include <stdio.h>
#include <string.h>

struct announced {
    struct {
        char uuid[40]; /* "": free */
        uint64_t until_usec;
    } guests[ANNOUNCED_MAX];
};

int announced_new(struct announced **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

struct announced *announced_free(struct announced *a)
{
    free(a);
    return NULL;
}

void announced_add(struct announced *a, const char *uuid, uint64_t until_usec)
{
    size_t at = 0;
    (void)announced_take(a, uuid, 0);
    for (size_t i = 1; i < ANNOUNCED_MAX; i++)
        if (a->guests[i].until_usec < a->guests[at].until_usec)
            at = i;
    snprintf(a->guests[at].uuid, sizeof a->guests[at].uuid, "%s", uuid);
    a->guests[at].until_usec = until_usec;
}

bool announced_take(struct announced *a, const char *uuid, uint64_t now_usec)
{
    bool found = false;
    for (size_t i = 0; *uuid && i < ANNOUNCED_MAX; i++) {
        if (strcmp(a->guests[i].uuid, uuid) != 0)
            continue;
        found |= a->guests[i].until_usec > now_usec;
        a->guests[i].uuid[0] = '\0';
        a->guests[i].until_usec = 0;
    }
    return found;
}

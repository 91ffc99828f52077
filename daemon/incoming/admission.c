/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/admission.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void admission_init(struct admission *a, unsigned places)
{
    *a = (struct admission){.places = places};
    a->last = &a->first;
    pthread_mutex_init(&a->lock, NULL);
}

void admission_destroy(struct admission *a)
{
    pthread_mutex_destroy(&a->lock);
}

static unsigned count_host(const struct admission *a, const char *host)
{
    unsigned n = 0;
    for (const struct admission_place *p = a->first; p; p = p->next)
        n += !p->ended && strcmp(p->host, host) == 0;
    return n;
}

/* Lock held. Rare, and the places are few. */
static void end_one(struct admission *a)
{
    struct admission_place *who = NULL;
    unsigned most = 0;
    for (struct admission_place *p = a->first; p; p = p->next) {
        unsigned n = p->ended ? 0 : count_host(a, p->host);
        if (n > most) { /* of its host it is the first in the list, and so the one that came first */
            who = p;
            most = n;
        }
    }
    if (!who)
        return;
    who->ended = true;
    shutdown(who->fd, SHUT_RDWR);
    a->taken--;
}

void admission_enter(struct admission *a, struct admission_place *p, const char *peer, int fd)
{
    const char *end = strrchr(peer, ':');
    if (!end)
        end = strchr(peer, ' ');
    *p = (struct admission_place){.fd = fd};
    snprintf(p->host, sizeof p->host, "%.*s", end ? (int)(end - peer) : (int)strlen(peer), peer);
    pthread_mutex_lock(&a->lock);
    *a->last = p;
    a->last = &p->next;
    if (++a->taken > a->places)
        end_one(a);
    pthread_mutex_unlock(&a->lock);
}

bool admission_leave(struct admission *a, struct admission_place *p)
{
    pthread_mutex_lock(&a->lock);
    for (struct admission_place **at = &a->first; *at; at = &(*at)->next) {
        if (*at != p)
            continue;
        *at = p->next;
        if (a->last == &p->next)
            a->last = at;
        a->taken -= !p->ended;
        break;
    }
    bool ended = p->ended;
    pthread_mutex_unlock(&a->lock);
    return ended;
}

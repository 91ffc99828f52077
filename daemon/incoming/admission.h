/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may be in the hall: connections that have not said HELLO yet have a limited number of places. Nobody is
 * kept out by others who take them and say nothing: when all are taken, the one that came first of the host
 * that has most of them is ended, and the newcomer has its place.
 */
#pragma once
#include "base/error.h"
#include <pthread.h>

struct admission_place { /* of the connection's own memory */
    struct admission_place *next;
    char host[64]; /* where it came from, without the port */
    int fd;        /* borrowed: shut down when the place is wanted */
    bool ended;    /* lock: it was */
};

struct admission {
    pthread_mutex_t lock;
    unsigned places, taken;
    struct admission_place *first, **last; /* in the order in which they came */
};

void admission_init(struct admission *a, unsigned places);
void admission_destroy(struct admission *a);
/* Any thread. peer: host:port, [v6]:port, or how a UNIX peer is named: all of those are one host. */
void admission_enter(struct admission *a, struct admission_place *p, const char *peer, int fd);
/* Before fd is closed or is somebody else's. True when it was ended because its place was wanted. Once more
 * is harmless. */
bool admission_leave(struct admission *a, struct admission_place *p);

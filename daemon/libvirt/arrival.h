/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that arrive and wait, each in a hook of libvirt's, for the migration that moves their memory. A hook
 * waits on a helper thread; the worker of the migration lets it go. Any thread.
 */
#pragma once
#include "domain/domain.h"

struct arrivals;
int arrivals_new(struct arrivals **ret);
struct arrivals *arrivals_free(struct arrivals *a);

/* What a source has said about a guest whose memory it moves because it was asked (libvirt/fetch.h). */
enum arrival_word {
    ARRIVAL_WORD_NONE,
    ARRIVAL_WORD_WHOLE, /* it has given up, and the guest runs there as before: QEMU may move everything */
    ARRIVAL_WORD_STAYS, /* it has given up, and nobody is to move the guest now */
    ARRIVAL_WORD_GONE,  /* nothing more can be heard of it */
};

struct arrival_wait {
    struct domain *domain; /* incoming */
    uint64_t first_usec;   /* until a migration must have begun */
    bool announced;        /* somebody was told that migd moves it: never whole by QEMU */
    int cancel_fd;
    /* Does not block; NULL: no source was asked. */
    enum arrival_word (*hear)(void *userdata);
    /* None has: makes it an ordinary domain. -EBUSY: one begins just now. */
    int (*settle)(void *userdata);
    void *userdata;
};
/* 0: it was let go, or nobody came. PeerLost when its migration ended without a decision for this side, or
 * nobody came for one that was announced; Cancelled. */
int arrivals_wait(struct arrivals *a, const struct arrival_wait *w, struct mig_error *err);
/* The controller's barrier; userdata: the arrivals. */
void arrivals_let_go(const char *domain, void *userdata);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest arrives that no migd has announced: somebody has libvirt move it. The hosts that may have it
 * (native-peers.h) are asked whether one of them moves its memory, and the connection to the one that does
 * stays until that has ended there: include/migd-wire.h. Any thread; one at a time.
 */
#pragma once
#include "libvirt/arrival.h"

struct security;
struct fetch;

struct fetch_request {
    struct security *security;
    const char *peers; /* NativePeers= */
    const char *uuid, *name;
    uint64_t timeout_usec; /* for all of them together */
    int cancel_fd;
};

enum fetch_answer {
    FETCH_NOBODY, /* why says why */
    FETCH_COMES,  /* *ret is the caller's */
};

/* BLOCKS. */
enum fetch_answer fetch_ask(struct fetch **ret, const struct fetch_request *q, struct mig_error *why);
/* Whether the source has said its last word; does not block. */
enum arrival_word fetch_hear(struct fetch *f);
struct fetch *fetch_free(struct fetch *f);
DEFINE_CLEANUP(struct fetch *, fetch_free)

/* Asks a destination whether a guest that arrives there waits for migd here. BLOCKS. 0: it does; else why
 * not. */
int fetch_ask_receives(struct security *security, const char *destination, int cancel_fd,
                       struct mig_error *why);
/* The same, and tells it that the guest comes and that QEMU must not move it whole (announced.h); or, not
 * comes, that it was announced and does not come. BLOCKS. */
int fetch_announce(struct security *security, const char *destination, const char *uuid, bool comes,
                   int cancel_fd, struct mig_error *why);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long a source may stay while it sends. What it takes a peer's silence to be found out by (stall
 * timeouts, keepalive) is content with a byte now and then, and with a peer that only says that it lives:
 * neither may hold a domain and its memory for ever. Looked after by the main thread, whatever the worker and
 * its threads wait for.
 */
#pragma once
#include "base/error.h"

/* USEC_INFINITY: no limit. */
struct patience_limits {
    uint64_t progress_usec; /* without a whole frame of pages or state, or a fence */
    uint64_t receive_usec;  /* in all, from the first look */
};

struct patience {
    struct patience_limits limits;
    uint64_t began_usec, moved_usec; /* 0: not looked yet */
    uint64_t mark;
};
/* mark: a number that any progress changes. excused: nothing can come at present, and that has a limit of its
 * own (a source whose connections broke). 0, or -ETIME with err. */
int patience_look(struct patience *p, uint64_t now_usec, uint64_t mark, bool excused, struct mig_error *err);
/* Until when the next look can wait. USEC_INFINITY: for ever. */
uint64_t patience_interval_usec(const struct patience *p);

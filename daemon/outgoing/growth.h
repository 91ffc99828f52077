/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many page connections a link wants, found out while pages are sent: as long as one more brings a gain
 * that can be measured, another is opened. Never where a cap or the processors of this host are what limits,
 * which no connection changes. What was opened stays open: an idle connection costs nothing.
 *
 * Decides only; what is measured and opened stands behind the ops. One thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROWTH_FIRST         2u /* what a migration begins with */
#define GROWTH_INTERVAL_USEC UINT64_C(250000)

struct growth_ops {
    uint64_t (*sent_bytes)(void *userdata); /* that have arrived so far, over all connections */
    uint64_t (*cpu_usec)(void *userdata);   /* of this process so far; never falls */
    uint64_t (*cap)(void *userdata);        /* bytes per second that may be sent; 0: no cap */
    int (*open)(void *userdata);            /* one more, used at once. 0 or -errno: there will be none */
};

struct growth {
    const struct growth_ops *ops;
    void *userdata;
    unsigned connections, limit, processors;
    bool done;
    char why[160]; /* once it is done: why not more */
    /* The interval that runs; since_usec 0: none. */
    uint64_t since_usec, since_bytes, since_cpu_usec;
    bool doubtful;        /* the newest brought nothing in one interval: one more decides */
    bool settling;        /* the newest connection is not up to speed yet */
    uint64_t before_rate; /* bytes per second with one connection less; 0: not tried */
};

void growth_init(struct growth *g, const struct growth_ops *ops, void *userdata, unsigned connections,
                 unsigned limit, unsigned processors);
/* About every GROWTH_INTERVAL_USEC while pages are being sent. True when something changed. */
bool growth_look(struct growth *g, uint64_t now_usec);
/* Nothing is being sent: the interval that was begun says nothing. */
void growth_rest(struct growth *g);
/* For reasons outside of the measurement. */
void growth_end(struct growth *g, const char *why);

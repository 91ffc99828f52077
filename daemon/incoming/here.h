/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this host has for a migration to come: a picture of a domain with references to its memory and
 * devices, so that a HELLO can be held against it on any thread while the domain goes its way. Taken by the
 * main thread, or by the worker that has the domain borrowed.
 */
#pragma once
#include "domain/domain.h"
#include "incoming/space-ledger.h"

struct here {
    char name[DOMAIN_NAME_MAX + 1];
    struct domain_memory *memory; /* region and IOVAs */
    size_t nmemory;
    struct device **devices;
    size_t ndevices;
    bool controller_state;       /* the VMM's own state can be loaded */
    bool tracked;                /* something could say what is written here */
    struct space_ledger *ledger; /* NULL: nobody else counts. The caller sets a reference, and: */
    const void *who;             /* which of its promises are this migration's own */
    bool accept_overrides;       /* the configuration lets the source's operator overrule */
};

int here_take(struct here *ret, struct domain *d, bool accept_overrides);
void here_drop(struct here *h);
struct region *here_find_region(const struct here *h, const char *name);
struct device *here_find_device(const struct here *h, const char *name);

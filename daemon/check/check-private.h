/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a check share. Each file looks at one part of the domain. */
#pragma once
#include "check/check.h"

#define CHECK_ASSUMED_BANDWIDTH UINT64_C(1250000000) /* 10 Gbit/s */

struct check {
    struct domain *domain;
    const struct check_request *request;
    struct findings *findings;
    struct domain_memory *memory; /* as it was when the check began, with references */
    size_t nmemory;
    bool keep_tracking;
    bool failed; /* out of memory: findings are missing */
    /* What the asks learn on their way. */
    bool *dead;           /* per device: it does not answer, and is not asked again */
    bool controller_dead; /* the same of the VMM */
    bool *unknown;        /* per memory: nobody can say what is written there */
    uint64_t state_bytes; /* of devices, in the blackout */
};

#define TELL(c, ...)       ((c)->failed |= findings_add((c)->findings, __VA_ARGS__) < 0)
#define TELL_ERROR(c, ...) ((c)->failed |= findings_add_error((c)->findings, __VA_ARGS__) < 0)

/* check-terms.c */
/* Bytes per second for estimates: what is known or assumed, within the cap that the operator set. */
uint64_t check_bandwidth(const struct check *c);
uint64_t check_usec_for(const struct check *c, uint64_t bytes);
/* ", assumed" where nothing is known. */
const char *check_bandwidth_note(const struct check *c);

void check_domain_facts(struct check *c);
void check_memory_facts(struct check *c);
void check_device_facts(struct check *c);
void check_container_facts(struct check *c);
void check_tracker_facts(struct check *c);
void check_host_facts(struct check *c);

void check_memory_asks(struct check *c);
void check_restart_asks(struct check *c);
void check_device_asks(struct check *c);
void check_controller_asks(struct check *c);
void check_tracker_asks(struct check *c);
void check_convergence(struct check *c); /* after those of devices and trackers */
void check_host_asks(struct check *c);   /* after those of trackers */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the journal says of each decision about a call: who asked for what on which object, what was decided
 * and why, and when it was allowed and failed all the same, of what.
 */
#pragma once
#include "domain/domain.h"
#include "migration/migration.h"
#include <systemd/sd-bus.h>

#define API_UID_UNKNOWN UINT32_MAX

/* A copy of what the object is called: a method may take the object away. */
struct api_audit {
    sd_bus_message *call; /* borrowed */
    const char *action;   /* the right that the call needs */
    uint32_t uid;         /* API_UID_UNKNOWN: nobody could say */
    char domain[DOMAIN_NAME_MAX + 1];
    char migration[MIGRATION_ID_LEN + 1];
};

/* object: whose interface the call is for, as sd-bus finds it; NULL: none, or it is gone. */
void api_audit_begin(struct api_audit *ret, sd_bus_message *call, const char *action, uint32_t uid,
                     const void *object);
void api_audit_decided(const struct api_audit *a, bool allowed, const char *why);
/* After a call that was allowed; says nothing when error is not set. */
void api_audit_ended(const struct api_audit *a, const sd_bus_error *error);

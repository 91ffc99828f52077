/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a destination answers to a source that is back (include/migd-wire.h, "resume"), as numbers. Whether
 * they fit what was sent is for whoever has sent it.
 */
#pragma once
#include "base/json.h"
#include "migd-wire.h"

struct resume_answer {
    char key[33];                           /* of the next resume */
    uint64_t applied[WIRE_CONNECTIONS_MAX]; /* frames in place, per page connection */
    uint64_t *state_taken;                  /* bytes, per device; the caller's, with room for all of them */
};

/* -EPROTO: something is missing, of the wrong kind, negative, or of another count. */
int resume_answer_read(struct resume_answer *ret, struct json_object *answer, size_t connections,
                       size_t devices);

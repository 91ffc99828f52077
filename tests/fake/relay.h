/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A relay between two daemons that damages the device state on its way, and nothing else: frame headers,
 * sequence numbers and checksums of what it sends on are in order, as if the source itself had sent it so.
 * What is left to notice it are length and digest of the stream.
 *
 * One thread takes connections, two serve each.
 */
#pragma once
#include "base/error.h"

enum relay_damage {
    RELAY_NONE,
    RELAY_FLIP_FIRST,  /* a bit of the first chunk */
    RELAY_FLIP_LAST,   /* a bit of the last chunk */
    RELAY_DROP_FIRST,  /* the first chunk is missing, those behind it move up */
    RELAY_DROP_LAST,   /* the last chunk is missing */
    RELAY_CUT_LAST,    /* the last chunk lacks its last byte, and the end says so too */
    RELAY_ADD_LAST,    /* one byte more behind the last chunk */
    RELAY_ADD_AND_SAY, /* the same, and the end counts it */
    RELAY_ADD_BEHIND,  /* one byte more behind the end */
    RELAY_FLIP_DIGEST, /* a bit of the digest */
    RELAY_NO_END,      /* the connection ends instead */
    RELAY_END_TWICE,   /* the end comes again */
    RELAY_DAMAGE_MAX,
};

extern const char *const relay_damage_words[RELAY_DAMAGE_MAX]; /* "none", "flip-first", ... */

struct relay;
/* Listens at an address and passes on to another. device: whose stream is damaged. *ret_bound: where it
 * listens, to be freed. */
int relay_new(struct relay **ret, const char *listen, const char *destination, enum relay_damage damage,
              unsigned device, char **ret_bound, struct mig_error *err);
/* Whether the damage has been done. */
bool relay_has_damaged(const struct relay *r);
struct relay *relay_free(struct relay *r);

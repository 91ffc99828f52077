/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices of this host that a guest which is on its way here shall get, so that two that arrive at once do
 * not choose the same one. A reservation expires when its guest does not come; once the guest is there, it
 * lasts until the guest is gone. Not saved: after a restart of migd a device is seen to be in use by the QEMU
 * that holds it. Main thread. Times are those of now_usec(), passed in.
 */
#pragma once
#include "base/error.h"

#define RESERVATIONS_MAX 1024u

struct reservations;
int reservations_new(struct reservations **ret);
struct reservations *reservations_free(struct reservations *r);
DEFINE_CLEANUP(struct reservations *, reservations_free)

/* Busy when another owner has it and it has not expired. owner: UUID of the guest, name for people to read.
 */
int reservations_add(struct reservations *r, const char *address, const char *owner, const char *name,
                     uint64_t now_usec, uint64_t until_usec, struct mig_error *err);
/* The guest is there: what is reserved for it does not expire any more. How many those are. */
size_t reservations_take(struct reservations *r, const char *owner, uint64_t now_usec);
/* Gives back what this guest has; how many those were. */
size_t reservations_release(struct reservations *r, const char *owner);
/* Name of the guest that it is reserved for, unless that is `owner`; NULL: nobody. Borrowed. */
const char *reservations_holder(const struct reservations *r, const char *address, const char *owner,
                                uint64_t now_usec);

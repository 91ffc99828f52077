/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A cap on bytes per second, shared by threads: a token bucket that may go into debt. Whoever finds tokens
 * takes what it needs at once and the next ones wait until the debt is paid, so a large batch is never cut
 * and the average holds. A new rate counts from the moment it is set, also for those who already wait.
 *
 * A cap may have children, with caps of their own, which share it by bytes: whose turn it is among those that
 * wait is decided by virtual time. Each child has one, which is the bytes that it got; the least goes first,
 * and one that comes back after it wanted nothing starts where the others are, so that nobody saves up a
 * claim and what a child does not want is the others'.
 */
#pragma once
#include "base/util.h"

struct ratelimit;

/* 0: no cap. */
int ratelimit_new(struct ratelimit **ret, uint64_t bytes_per_sec);
/* A share of parent, which lives longer and has no parent itself; NULL: of nothing. */
int ratelimit_new_child(struct ratelimit **ret, struct ratelimit *parent, uint64_t bytes_per_sec);
struct ratelimit *ratelimit_free(struct ratelimit *r); /* nobody waits any more, and no child is left */
DEFINE_CLEANUP(struct ratelimit *, ratelimit_free)
void ratelimit_set(struct ratelimit *r, uint64_t bytes_per_sec);
/* Waits for its turn. 0, or -ECANCELED after ratelimit_cancel, for everybody and for good. */
int ratelimit_take(struct ratelimit *r, uint64_t bytes);
/* Takes without waiting: those who wait yield. It is not counted against the child's turn: what cannot wait
 * comes off the top, and the rest is shared as before. At most a second of the rate is owed for such bytes,
 * so that others do not stand still for long after somebody sent much more than the cap. */
void ratelimit_charge(struct ratelimit *r, uint64_t bytes);
/* Of r alone: its parent and other children go on. */
void ratelimit_cancel(struct ratelimit *r);
/* What r may count on: its own cap, or an equal part of its parent's, shared with the children that took
 * something in the last second, whichever is less. 0: no cap. */
uint64_t ratelimit_share(struct ratelimit *r);

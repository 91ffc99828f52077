/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A cap on bytes per second, shared by threads: a token bucket that may go into debt. Whoever finds tokens
 * takes what it needs at once and the next ones wait until the debt is paid, so a large batch is never cut
 * and the average holds. A new rate counts from the moment it is set, also for those who already wait.
 */
#pragma once
#include "base/util.h"

struct ratelimit;

/* 0: no cap. */
int ratelimit_new(struct ratelimit **ret, uint64_t bytes_per_sec);
struct ratelimit *ratelimit_free(struct ratelimit *r); /* nobody waits any more */
DEFINE_CLEANUP(struct ratelimit *, ratelimit_free)
void ratelimit_set(struct ratelimit *r, uint64_t bytes_per_sec);
/* Waits for its turn. 0, or -ECANCELED after ratelimit_cancel, for everybody and for good. */
int ratelimit_take(struct ratelimit *r, uint64_t bytes);
void ratelimit_cancel(struct ratelimit *r);

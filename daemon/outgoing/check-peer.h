/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a destination would have against a migration of a domain, asked without beginning one. */
#pragma once
#include "base/finding.h"
#include "domain/domain.h"
#include "migration/options.h"

struct security;

/* BLOCKS, on any worker, until the answer came, cancel_fd (-1: none) becomes readable, or about 20 s went by.
 * The domain is borrowed or has a job, so that its structure stays. Nothing is touched on either side.
 *
 * Adds what the destination finds (destination true) to *ret, with the operator's o->allow and o->peer_domain
 * taken into account, and a finding of our own when it cannot be reached, refuses, does not know the
 * question, or answers nonsense. Errors are only what the caller did: Cancelled, InvalidArgument for an
 * address that is none, NoMemory. */
int outgoing_check_peer(struct security *security, struct domain *d, const char *destination,
                        const struct migration_options *o, int cancel_fd, struct findings *ret,
                        struct mig_error *err);

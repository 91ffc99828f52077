/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All domains of this daemon, by name. Main thread. */
#pragma once
#include "domain/domain.h"

#define REGISTRY_DOMAINS_MAX 1024u

struct registry;
int registry_new(struct registry **ret);
struct registry *registry_free(struct registry *r);
DEFINE_CLEANUP(struct registry *, registry_free)
int registry_add(struct registry *r, struct domain *d, struct mig_error *err);
void registry_remove(struct registry *r, struct domain *d);
struct domain *registry_find(struct registry *r, const char *name);
struct domain *registry_nth(struct registry *r, size_t n); /* NULL beyond the last */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HELLO of a source: what it has, and what it wishes. Both a migration and a check begin with it. */
#pragma once
#include "base/json.h"
#include "domain/domain.h"
#include "migration/options.h"

/* Worker; the domain is borrowed or has a job. Devices are asked for the size of their state. NULL: out of
 * memory. Regions and devices come in the order of the domain. */
struct json_object *hello_new(struct domain *d, const struct migration_options *o, size_t connections);

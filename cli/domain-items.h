/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the two readers of a domain_spec. */
#pragma once
#include "domain-fields.h"

#define DOMAIN_FILE_MAX_BYTES (1024u * 1024)

/* Appends an item with the defaults of its kind to the list that the table stands for. *ret is good until the
 * next one is appended. */
int domain_spec_new_item(struct domain_spec *spec, const struct field_table *table, void **ret,
                         struct mig_error *err);

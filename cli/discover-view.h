/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was found in a process, as tables for people and as JSON, with the command line that would register
 * it. */
#pragma once
#include "args.h"
#include "discover.h"

struct json_object;

/* The caller drops it. NULL when memory is short. */
struct json_object *discovery_to_json(const struct discovery *d, const struct args *args);
/* missing: also how the rest is found out and given. */
void discovery_print(const struct discovery *d, const struct args *args, bool missing);
/* A line on standard error for each piece of memory that may be guest memory and was not spoken of. */
void discovery_print_not_given(const struct discovery *d);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * HELLO of a source held against what is here. Every difference is a finding; the first error is what a start
 * is refused with, and a check is told all of them. Nothing is touched. Any thread; files and devices are
 * asked, so not the main one.
 */
#pragma once
#include "base/finding.h"
#include "base/json.h"
#include "incoming/here.h"

/* Adds to *ret, after overruling in it what HELLO allows and the configuration accepts. here NULL: versions
 * alone. -EPROTO with err for a HELLO that is malformed. */
int compare_hello(struct json_object *hello, const struct here *here, struct findings *ret,
                  struct mig_error *err);
/* Writes down in here->ledger what the migration of this HELLO will take. Before compare_hello: of two that
 * come at once each sees the other. Until space_ledger_forget. A malformed HELLO promises nothing. */
int compare_promise(struct json_object *hello, const struct here *here);
/* Main thread: whether the domain (NULL: there is none of that name) would take a migration in. */
int compare_domain(const struct domain *d, const char *name, struct findings *ret);
/* 0, or the first error of the list in err, with the code that fits it. */
int compare_refuse(const struct findings *f, struct mig_error *err);

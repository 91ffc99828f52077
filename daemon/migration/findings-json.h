/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings between two daemons: what the answer to a check carries, and what is believed of it. No state, any
 * thread. */
#pragma once
#include "base/finding.h"
#include "base/json.h"

/* What an answer holds at most, and what is read of one. */
#define FINDINGS_TOLD_MAX 200u

/* Adds "findings" and, if not all of them had room, "findings-left-out" to o; errors come before warnings and
 * notes. Text is made fit for JSON. */
int findings_tell(const struct findings *f, struct json_object *o);
/* Adds what the peer told, as found at the destination, all text cut and made printable. -EPROTO with err for
 * an answer that is not of that form: what was understood before stays in *ret. */
int findings_hear(struct json_object *o, struct findings *ret, struct mig_error *err);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How migctl says things: errors as two lines of text and, with --json, as an object; values on standard
 * output. */
#pragma once
#include "base/error.h"

struct json_object;

extern bool arg_json;

/* Prints the error and returns the exit code that belongs to it. */
int output_error(const struct mig_error *err);
/* Prints to standard error alone. */
void output_error_text(const struct mig_error *err);
/* {"error", "message", "hint"} are put into an object. */
int output_error_to_json(const struct mig_error *err, struct json_object *object);
/* Prints an object: over several lines, or as one line that is flushed at once (for streams of events). */
void output_json(struct json_object *object);
void output_json_line(struct json_object *object);
/* Replaces control characters by '?': what a peer or a device says shall not drive the terminal. */
void output_make_safe(char *text);
/* Answers whether everything could be written to standard output; an exit code (0 or 1). */
int output_finish(void);

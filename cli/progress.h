/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a running migration is shown: on a terminal a line that is updated in place, on a pipe a line for each
 * round, with --json an object a line. Owns what is on the screen of its line.
 */
#pragma once
#include <stddef.h>
#include <stdio.h>

struct json_object;

enum progress_mode { PROGRESS_NONE, PROGRESS_TERMINAL, PROGRESS_LINES, PROGRESS_JSON };

struct progress {
    enum progress_mode mode;
    FILE *f;
    unsigned shown_lines; /* on the terminal now */
};

/* What fits standard output and --json. */
void progress_init(struct progress *p, enum progress_mode mode);
enum progress_mode progress_mode_for_stdout(void);
void progress_update(struct progress *p, struct json_object *status);
void progress_round(struct progress *p, struct json_object *round);
/* Takes the line off the terminal. */
void progress_clear(struct progress *p);

/* The figures and the verdict of a status, in at most width columns each; exported for the tests. */
void progress_format(struct json_object *status, size_t width, char *figures, char *verdict, size_t size);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Long text for a terminal: lines that break between words. No state. */
#pragma once
#include <stdio.h>

/* How wide standard output is, between 40 and 100 columns; 80 where it is no terminal. */
unsigned output_width(void);
/* Prints the text in lines of at most `width` columns, each after `indent` blanks; the first one goes on at
 * column `at`, where the caller has arrived. Ends with a newline. A word that is too long stands alone. */
void print_wrapped(FILE *f, const char *text, unsigned at, unsigned indent, unsigned width);

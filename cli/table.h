/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables of JSON objects: a column names a key, a title and a unit, so that the same rows print as aligned
 * text or as JSON. Cells take their text from the unit: 1.5 GiB, 45 ms, 120 MiB/s. No state.
 */
#pragma once
#include "migd-status.h"
#include <stdio.h>

struct json_object;

/* Units beside those of migd-status.h. */
#define UNIT_TEXT     's'
#define UNIT_BOOL     'b'
#define UNIT_LIST     'l' /* array of texts or addresses: joined by spaces */
#define UNIT_ADDRESS  'x' /* a number, or an array of them, in hexadecimal */
#define UNIT_REALTIME 'R' /* CLOCK_REALTIME in usec, as local date and time */

struct column {
    const char *key;
    const char *title;
    char unit;
};

/* Text of a cell; "-" for what is missing or empty. Writes at most size bytes into buf and returns it.
 * Control characters become '?'. */
char *cell_text(char *buf, size_t size, struct json_object *value, char unit);
/* Rows below a line of titles; numbers are aligned to the right. indent spaces stand before each line. */
void table_print(FILE *f, unsigned indent, const struct column *columns, size_t n, struct json_object *rows);
/* "Title:   value", one a line, as virsh does. What is missing or empty is left out. */
void fields_print(FILE *f, unsigned indent, const struct column *fields, size_t n,
                  struct json_object *object);

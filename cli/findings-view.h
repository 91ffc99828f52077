/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings as an operator reads them: what it is, then what to do. No state. */
#pragma once
#include <stdio.h>

struct json_object;

/* One finding, over two lines. more: other devices of which the same is said. */
void finding_print(FILE *f, unsigned indent, struct json_object *finding, size_t more);
/* All of an array. */
void findings_print(FILE *f, unsigned indent, struct json_object *findings);

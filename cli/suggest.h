/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "Did you mean ...?": the word of a list that is nearest to what somebody typed. No state. */
#pragma once
#include <stddef.h>

/* Number of insertions, deletions, changes and swaps of neighbours that turn a into b. Words longer than 63
 * bytes count as far apart. */
unsigned edit_distance(const char *a, const char *b);
/* Of n words, each at words + i * stride (a struct that begins with its const char * name), the nearest one,
 * or NULL when none is near enough to be meant. */
const char *suggest_nearest(const char *typed, const void *words, size_t stride, size_t n);

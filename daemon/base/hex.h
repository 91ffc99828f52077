/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ids and tokens: random bytes as lower-case hex digits. */
#pragma once
#include "base/util.h"

/* Fills text with ndigits random digits (even) and a NUL; text has room for ndigits + 1. -errno. */
int hex_random(char *text, size_t ndigits);
/* Exactly ndigits lower-case hex digits. */
bool hex_is_valid(const char *text, size_t ndigits);

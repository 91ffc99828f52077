/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
#include <stdint.h>

/* "64", "0x1000", "16M" with the suffixes K, M, G, T. 0 or -EINVAL. */
int size_parse(const char *text, uint64_t *ret);

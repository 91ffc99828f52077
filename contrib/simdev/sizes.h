/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and sizes as people type them. */
#pragma once
#include <stdint.h>

/* Decimal or 0x hexadecimal, nothing after it; 0 or -EINVAL, -ERANGE. */
int parse_number(const char *text, uint64_t *ret);
/* The same with an optional suffix K, M, G or T (powers of 1024). */
int parse_size(const char *text, uint64_t *ret);
/* "IOVA:SIZE"; refuses what wraps. */
int parse_range(const char *text, uint64_t *ret_iova, uint64_t *ret_size);

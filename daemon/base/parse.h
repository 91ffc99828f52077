/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sizes, times, rates and addresses as people write them in options, configuration and domain files. No
 * state, any thread.
 *
 * All return 0, -EINVAL for text that is not one of the forms, -ERANGE for a value that does not fit, and
 * leave *ret alone then. Surrounding blanks, signs and empty text are refused. A fraction is allowed where a
 * unit follows ("1.5G").
 */
#pragma once
#include "base/util.h"

/* Bytes: "4096", "4K", "1.5G", "512MiB"; K, M, G, T, P are powers of 1024, in either case, with "B" or "iB"
 * after them if one likes. */
int parse_size(const char *s, uint64_t *ret);
/* Microseconds: "250us", "300ms", "1.5s", "2min". A number without a unit is refused, since nobody agrees on
 * which it would be; "0" is fine. */
int parse_usec(const char *s, uint64_t *ret);
/* "0x1000" or "4096". */
int parse_address(const char *s, uint64_t *ret);
/* Bytes per second: a size, with "/s" after it if one likes; or bits with decimal units: "10Gbit",
 * "800Mbit/s". "0" means no cap. */
int parse_rate(const char *s, uint64_t *ret);
/* A decimal number not above max. */
int parse_unsigned(const char *s, uint64_t max, uint64_t *ret);
/* yes/no, true/false, on/off, 1/0. */
int parse_bool(const char *s, bool *ret);

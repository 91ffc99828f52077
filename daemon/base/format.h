/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes and times for people to read. They write into the caller's buffer and return it, so that they can
 * stand in a printf. */
#pragma once
#include "base/util.h"

#define FORMAT_MAX 32

/* "512 B", "4.0 KiB", "1.5 GiB": at most three digits before the point. */
const char *format_bytes(char buf[static FORMAT_MAX], uint64_t bytes);
/* "850 us", "12.3 ms", "4.56 s", "2 min 05 s", "3 h 07 min"; "unlimited" for UINT64_MAX. */
const char *format_usec(char buf[static FORMAT_MAX], uint64_t usec);
/* As format_bytes, with "/s". */
const char *format_rate(char buf[static FORMAT_MAX], uint64_t bytes_per_sec);

/* For one use within a statement. */
#define FORMAT_BYTES(v) format_bytes((char[FORMAT_MAX]){0}, (v))
#define FORMAT_USEC(v)  format_usec((char[FORMAT_MAX]){0}, (v))
#define FORMAT_RATE(v)  format_rate((char[FORMAT_MAX]){0}, (v))

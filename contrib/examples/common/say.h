/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events of an example as lines that a test can read. Any thread. */
#pragma once

/* "WORD SECONDS.MICROSECONDS DETAILS" on standard output, on the monotonic clock. */
void say(const char *word, const char *format, ...) __attribute__((format(printf, 2, 3)));

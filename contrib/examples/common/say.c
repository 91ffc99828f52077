/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "say.h"
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void say(const char *word, const char *format, ...)
{
    struct timespec t;
    va_list ap;
    clock_gettime(CLOCK_MONOTONIC, &t);
    flockfile(stdout);
    printf("%s %lld.%06ld", word, (long long)t.tv_sec, t.tv_nsec / 1000);
    if (*format) {
        putchar(' ');
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
    }
    putchar('\n');
    fflush(stdout);
    funlockfile(stdout);
}

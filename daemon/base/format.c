/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/format.h"
#include <inttypes.h>
#include <stdio.h>

static const char *format_scaled(char *buf, uint64_t bytes, const char *suffix)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t u = 0;
    double v = (double)bytes;
    /* 1023.95 would be rounded to four digits */
    while (v >= 999.95 && u + 1 < ELEMENTS(units)) {
        v /= 1024;
        u++;
    }
    if (u == 0)
        snprintf(buf, FORMAT_MAX, "%" PRIu64 " B%s", bytes, suffix);
    else
        snprintf(buf, FORMAT_MAX, "%.1f %s%s", v, units[u], suffix);
    return buf;
}

const char *format_bytes(char buf[static FORMAT_MAX], uint64_t bytes)
{
    return format_scaled(buf, bytes, "");
}

const char *format_rate(char buf[static FORMAT_MAX], uint64_t bytes_per_sec)
{
    return format_scaled(buf, bytes_per_sec, "/s");
}

const char *format_usec(char buf[static FORMAT_MAX], uint64_t usec)
{
    if (usec == UINT64_MAX)
        snprintf(buf, FORMAT_MAX, "unlimited");
    else if (usec < 1000)
        snprintf(buf, FORMAT_MAX, "%" PRIu64 " us", usec);
    else if (usec < 999950)
        snprintf(buf, FORMAT_MAX, "%.1f ms", (double)usec / 1000);
    else if (usec < UINT64_C(59995000))
        snprintf(buf, FORMAT_MAX, "%.2f s", (double)usec / 1000000);
    else {
        uint64_t sec = usec / 1000000 + (usec % 1000000 >= 500000);
        if (sec < 3600)
            snprintf(buf, FORMAT_MAX, "%" PRIu64 " min %02" PRIu64 " s", sec / 60, sec % 60);
        else
            snprintf(buf, FORMAT_MAX, "%" PRIu64 " h %02" PRIu64 " min", sec / 3600, sec / 60 % 60);
    }
    return buf;
}

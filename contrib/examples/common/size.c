/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "size.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int size_parse(const char *text, uint64_t *ret)
{
    static const char suffix[] = "KMGT";
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    unsigned long long n = strtoull(text, &end, 0);
    const char *s = *end ? strchr(suffix, *end) : NULL;
    unsigned shift = s ? 10 * (unsigned)(s - suffix + 1) : 0;
    if (s)
        end++;
    if (*end || errno || (n << shift) >> shift != n)
        return -EINVAL;
    *ret = (uint64_t)n << shift;
    return 0;
}

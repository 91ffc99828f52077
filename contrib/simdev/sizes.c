/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sizes.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_prefix(const char *text, uint64_t *ret, char **ret_end)
{
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    unsigned long long n = strtoull(text, ret_end, strncasecmp(text, "0x", 2) == 0 ? 16 : 10);
    if (errno)
        return -errno;
    *ret = n;
    return 0;
}

int parse_number(const char *text, uint64_t *ret)
{
    char *end;
    uint64_t n;
    int r = parse_prefix(text, &n, &end);
    if (r < 0)
        return r;
    if (*end)
        return -EINVAL;
    *ret = n;
    return 0;
}

int parse_size(const char *text, uint64_t *ret)
{
    static const char suffixes[] = "KMGT";
    char *end;
    uint64_t n;
    int r = parse_prefix(text, &n, &end);
    if (r < 0)
        return r;
    unsigned shift = 0;
    if (*end) {
        const char *s = strchr(suffixes, toupper((unsigned char)*end));
        if (!s || end[1])
            return -EINVAL;
        shift = (unsigned)(s - suffixes + 1) * 10;
    }
    if (shift && n >> (64 - shift))
        return -ERANGE;
    *ret = n << shift;
    return 0;
}

int parse_range(const char *text, uint64_t *ret_iova, uint64_t *ret_size)
{
    char iova_text[64];
    const char *colon = strchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof iova_text)
        return -EINVAL;
    snprintf(iova_text, sizeof iova_text, "%.*s", (int)(colon - text), text);
    uint64_t iova, size;
    int r = parse_size(iova_text, &iova);
    if (r == 0)
        r = parse_size(colon + 1, &size);
    if (r < 0)
        return r;
    if (size == 0 || iova + size - 1 < iova)
        return -EINVAL;
    *ret_iova = iova;
    *ret_size = size;
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include <string.h>
#include <strings.h>

#define FRACTION_DIGITS_MAX 9

struct unit {
    const char *word;
    uint64_t factor;
};

/* Digits, an optional fraction, and where the unit begins. */
struct number {
    uint64_t whole, fraction, fraction_scale; /* fraction / fraction_scale is below 1 */
    const char *rest;
};

static int read_number(const char *s, struct number *ret)
{
    struct number n = {.fraction_scale = 1};
    if (*s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n.whole, UINT64_C(10), &n.whole) ||
            __builtin_add_overflow(n.whole, (uint64_t)(*s - '0'), &n.whole))
            return -ERANGE;
    if (*s == '.') {
        unsigned digits = 0;
        for (s++; *s >= '0' && *s <= '9'; s++, digits++) {
            if (digits >= FRACTION_DIGITS_MAX)
                continue; /* finer than any unit here resolves */
            n.fraction = n.fraction * 10 + (uint64_t)(*s - '0');
            n.fraction_scale *= 10;
        }
        if (!digits)
            return -EINVAL;
    }
    n.rest = s;
    *ret = n;
    return 0;
}

static int apply_unit(const struct number *n, uint64_t factor, uint64_t divisor, uint64_t *ret)
{
    unsigned __int128 v =
        (unsigned __int128)n->whole * factor + (unsigned __int128)n->fraction * factor / n->fraction_scale;
    v /= divisor;
    if (v > UINT64_MAX)
        return -ERANGE;
    *ret = (uint64_t)v;
    return 0;
}

static const struct unit size_units[] = {
    {"K", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20}, {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40}, {"P", UINT64_C(1) << 50},
};

/* The length of a size unit at the beginning of s, 0 when there is none. */
static size_t size_unit(const char *s, uint64_t *ret_factor)
{
    for (size_t i = 0; i < ELEMENTS(size_units); i++) {
        if (strncasecmp(s, size_units[i].word, 1) != 0)
            continue;
        *ret_factor = size_units[i].factor;
        if (strncmp(s + 1, "iB", 2) == 0)
            return 3;
        return s[1] == 'B' ? 2 : 1;
    }
    *ret_factor = 1;
    return s[0] == 'B' ? 1 : 0;
}

static int parse_bytes(const char *s, const char *optional_suffix, uint64_t *ret)
{
    struct number n;
    uint64_t factor;
    int r = read_number(s, &n);
    if (r < 0)
        return r;
    const char *end = n.rest + size_unit(n.rest, &factor);
    if (*end && !(optional_suffix && strcmp(end, optional_suffix) == 0))
        return -EINVAL;
    if (n.fraction_scale > 1 && factor == 1)
        return -EINVAL;
    return apply_unit(&n, factor, 1, ret);
}

int parse_size(const char *s, uint64_t *ret)
{
    return parse_bytes(s, NULL, ret);
}

int parse_rate(const char *s, uint64_t *ret)
{
    static const struct unit bit_units[] = {
        {"bit", 1},
        {"Kbit", UINT64_C(1000)},
        {"Mbit", UINT64_C(1000000)},
        {"Gbit", UINT64_C(1000000000)},
        {"Tbit", UINT64_C(1000000000000)},
    };
    struct number n;
    int r = read_number(s, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTS(bit_units); i++) {
        size_t len = strlen(bit_units[i].word);
        if (strncasecmp(n.rest, bit_units[i].word, len) == 0 &&
            (!n.rest[len] || strcmp(n.rest + len, "/s") == 0))
            return apply_unit(&n, bit_units[i].factor, 8, ret);
    }
    return parse_bytes(s, "/s", ret);
}

int parse_usec(const char *s, uint64_t *ret)
{
    static const struct unit units[] = {
        {"us", 1},
        {"ms", 1000},
        {"s", 1000000},
        {"sec", 1000000},
        {"min", UINT64_C(60000000)},
        {"h", UINT64_C(3600000000)},
    };
    struct number n;
    int r = read_number(s, &n);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTS(units); i++)
        if (strcmp(n.rest, units[i].word) == 0)
            return apply_unit(&n, units[i].factor, 1, ret);
    if (*n.rest || n.whole || n.fraction_scale > 1)
        return -EINVAL;
    *ret = 0;
    return 0;
}

int parse_address(const char *s, uint64_t *ret)
{
    if (s[0] != '0' || (s[1] != 'x' && s[1] != 'X'))
        return parse_unsigned(s, UINT64_MAX, ret);
    uint64_t v = 0;
    const char *p = s + 2;
    for (; *p; p++) {
        int digit = *p >= '0' && *p <= '9'   ? *p - '0'
                    : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
                    : *p >= 'A' && *p <= 'F' ? *p - 'A' + 10
                                             : -1;
        if (digit < 0)
            return -EINVAL;
        if (v >> 60)
            return -ERANGE;
        v = v << 4 | (unsigned)digit;
    }
    if (p == s + 2)
        return -EINVAL;
    *ret = v;
    return 0;
}

int parse_unsigned(const char *s, uint64_t max, uint64_t *ret)
{
    struct number n;
    int r = read_number(s, &n);
    if (r < 0)
        return r;
    if (*n.rest || n.fraction_scale > 1)
        return -EINVAL;
    if (n.whole > max)
        return -ERANGE;
    *ret = n.whole;
    return 0;
}

int parse_bool(const char *s, bool *ret)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < ELEMENTS(yes); i++) {
        if (strcasecmp(s, yes[i]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcasecmp(s, no[i]) == 0) {
            *ret = false;
            return 0;
        }
    }
    return -EINVAL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/hex.h"
#include <string.h>
#include <sys/random.h>

static const char digits[] = "0123456789abcdef";

int hex_random(char *text, size_t ndigits)
{
    for (size_t i = 0; i < ndigits; i += 2) {
        uint8_t byte;
        if (getrandom(&byte, 1, 0) != 1)
            return -EIO;
        text[i] = digits[byte >> 4];
        text[i + 1] = digits[byte & 15];
    }
    text[ndigits] = '\0';
    return 0;
}

bool hex_is_valid(const char *text, size_t ndigits)
{
    return strlen(text) == ndigits && strspn(text, digits) == ndigits;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/printable.h"
#include "base/util.h"

/* Bytes of the character at s, 0 when it is none: too long a form, a surrogate, beyond U+10FFFF, cut short.
 */
static size_t character_bytes(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    return n;
}

static bool is_control(const unsigned char *s, size_t n)
{
    return (n == 1 && (s[0] < 0x20 || s[0] == 0x7f)) || (n == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

char *make_printable(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        size_t n = character_bytes(s);
        if (n == 0 || is_control(s, n)) {
            n = n ? n : 1;
            for (size_t i = 0; i < n; i++)
                s[i] = '?';
        }
        s += n;
    }
    return text;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wrap.h"
#include "base/util.h"
#include <string.h>
#include <sys/ioctl.h>

unsigned output_width(void)
{
    struct winsize size;
    unsigned columns = 80;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    return MIN(MAX(columns, 40u), 100u);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static unsigned columns_of(const char *text, size_t length)
{
    unsigned n = 0;
    for (size_t i = 0; i < length; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

void print_wrapped(FILE *f, const char *text, unsigned at, unsigned indent, unsigned width)
{
    unsigned column = at;
    bool fresh = true; /* nothing of the text stands on this line */
    for (;;) {
        text += strspn(text, " \n");
        size_t length = strcspn(text, " \n");
        if (length == 0)
            break;
        unsigned word = columns_of(text, length);
        if (!fresh && column + 1 + word > width) {
            fprintf(f, "\n%*s", (int)indent, "");
            column = indent;
            fresh = true;
        }
        fprintf(f, "%s%.*s", fresh ? "" : " ", (int)length, text);
        column += word + !fresh;
        fresh = false;
        text += length;
    }
    fputc('\n', f);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints unit/migd.catalog, the journal's catalog, from include/migd-messages.h. `make update-catalog` puts
 * it into the tree. */
#include "migd-messages.h"
#include <stdio.h>
#include <string.h>

#define COLUMNS 100u

/* Breaks lines at spaces. */
static void paragraph(const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > 0 && column + 1 + word > COLUMNS) {
            putchar('\n');
            column = 0;
        } else if (column > 0) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void entry(const char *id, const char *title, const char *story, const char *remedy)
{
    printf("\n-- %s\nSubject: %s\nDefined-By: migd\nDocumentation: man:migd(8)\n\n", id, title);
    paragraph(story);
    putchar('\n');
    paragraph(remedy);
}

int main(void)
{
    puts("# SPDX-License-Identifier: LGPL-2.1-or-later\n"
         "# Made by doc/make-catalog from include/migd-messages.h: `make update-catalog` writes it anew.");
#define X(symbol, id, title, story, remedy) entry(id, title, story, remedy);
    MIGD_MESSAGE_TABLE(X)
#undef X
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

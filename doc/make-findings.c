/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes doc/findings.md from the table of findings to standard output. `make update-findings` puts it into
 * the tree, and tests/lint/check-findings sees that it is up to date. */
#include "base/finding.h"
#include <stdio.h>

static const char *consequence(enum finding_code code)
{
    switch (finding_severity_of(code)) {
    case FINDING_ERROR:
        return finding_is_waivable(code) ? "Error; can be overruled with `--allow`" : "Error";
    case FINDING_WARNING:
        return "Warning";
    case FINDING_NOTE:
        break;
    }
    return "Note";
}

/* What Markdown would take for something else. */
static void text(const char *s)
{
    for (; *s; s++) {
        if (*s == '<' || *s == '>' || *s == '*' || *s == '_' || *s == '[' || *s == ']')
            putchar('\\');
        putchar(*s);
    }
}

static void section(enum finding_code code)
{
    printf("\n## %s\n\n", finding_code_to_string(code));
    printf("**");
    text(finding_title(code));
    printf(".** %s.\n\n", consequence(code));
    text(finding_story(code));
    printf("\n\n*Remedy:* ");
    text(finding_remedy(code));
    printf("\n");
}

int main(void)
{
    puts(
        "<!-- Made by doc/make-findings from include/migd-findings.h: `make update-findings` writes it anew. "
        "-->\n"
        "# Findings\n\n"
        "`migctl check DOMAIN [DESTINATION]` and `migctl devices` report findings, and `migctl start` "
        "refuses "
        "because of the first error that a check finds. Each has a\n"
        "code that does not change, a sentence about the case at hand, and a remedy. This page has what "
        "`migctl explain CODE` tells.\n\n"
        "An **error** makes a migration impossible; some can be overruled with `--allow CODE`. A **warning** "
        "names the price of a migration that can be begun. A **note** is worth\n"
        "knowing.\n");
    puts("| code | | |\n|---|---|---|");
    for (size_t i = 0; i < FINDING_CODE_MAX; i++) {
        enum finding_code code = (enum finding_code)i;
        const char *word = finding_code_to_string(code);
        printf("| [%s](#%s) | %s | ", word, word, finding_severity_to_string(finding_severity_of(code)));
        text(finding_title(code));
        printf(" |\n");
    }
    for (size_t i = 0; i < FINDING_CODE_MAX; i++)
        section((enum finding_code)i);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

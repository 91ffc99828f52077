/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "suggest.h"
#include "base/util.h"
#include <string.h>

#define WORD_MAX 63

unsigned edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX + 1;
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, d[i - 1][j] + 1);
            best = MIN(best, d[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[n][m];
}

const char *suggest_nearest(const char *typed, const void *words, size_t stride, size_t n)
{
    const char *best = NULL;
    /* A third of what was typed may be wrong, at least two letters. */
    unsigned limit = MAX((unsigned)strlen(typed) / 3, 2u), best_distance = limit + 1;
    for (size_t i = 0; i < n; i++) {
        const char *word = *(const char *const *)((const char *)words + i * stride);
        if (!word)
            continue;
        unsigned distance = edit_distance(typed, word);
        /* A word of which nothing was typed right is no suggestion. */
        if (distance < best_distance && distance < strlen(word)) {
            best = word;
            best_distance = distance;
        }
    }
    return best;
}

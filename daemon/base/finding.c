/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/finding.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE    FINDING_NOTE
#define WARNING FINDING_WARNING
#define ERROR   FINDING_ERROR
static const struct {
    const char *word;
    enum finding_severity severity;
    bool waivable;
    const char *title, *story, *remedy;
} table[] = {
#define X(symbol, code, severity, waivable, title, story, remedy)                                            \
    [symbol] = {code, severity, waivable, title, story, remedy},
    MIGD_FINDING_TABLE(X)
#undef X
};
#undef NOTE
#undef WARNING
#undef ERROR
static const char *const severities[] = {
    [FINDING_NOTE] = "note", [FINDING_WARNING] = "warning", [FINDING_ERROR] = "error"};

static bool is_known(const struct findings *f, const struct finding *item)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].destination == item->destination && strcmp(f->items[i].word, item->word) == 0 &&
            strcmp(f->items[i].subject, item->subject) == 0)
            return true;
    return false;
}

int findings_add_item(struct findings *f, const struct finding *item)
{
    if (is_known(f, item))
        return 0;
    if (f->count == f->room) {
        size_t room = f->room ? f->room * 2 : 8;
        struct finding *items = realloc(f->items, room * sizeof *items);
        if (!items)
            return -ENOMEM;
        f->items = items;
        f->room = room;
    }
    f->items[f->count++] = *item;
    return 0;
}

static struct finding new_item(const struct findings *f, enum finding_code code, const char *subject,
                               const char *remedy)
{
    struct finding item = {.code = code, .severity = finding_severity_of(code)};
    if (item.severity == FINDING_ERROR && finding_is_waivable(code) && f->waived[code])
        item.severity = FINDING_WARNING;
    snprintf(item.word, sizeof item.word, "%s", finding_code_to_string(code));
    snprintf(item.subject, sizeof item.subject, "%s", subject ? subject : "");
    snprintf(item.remedy, sizeof item.remedy, "%s", remedy ? remedy : finding_remedy(code));
    return item;
}

int findings_add(struct findings *f, enum finding_code code, const char *subject, const char *remedy,
                 const char *format, ...)
{
    struct finding item = new_item(f, code, subject, remedy);
    va_list ap;
    va_start(ap, format);
    vsnprintf(item.message, sizeof item.message, format, ap);
    va_end(ap);
    return findings_add_item(f, &item);
}

int findings_add_error(struct findings *f, enum finding_code code, const char *subject,
                       const struct mig_error *error, const char *what, ...)
{
    struct finding item = new_item(f, code, subject, error->hint[0] ? error->hint : NULL);
    va_list ap;
    va_start(ap, what);
    int n = vsnprintf(item.message, sizeof item.message, what, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n + 3 < sizeof item.message)
        snprintf(item.message + n, sizeof item.message - (size_t)n, ": %.*s",
                 (int)(sizeof item.message - (size_t)n - 3), error->message);
    item.error = error->code;
    return findings_add_item(f, &item);
}

int findings_waive(struct findings *f, const char *word, struct mig_error *err)
{
    enum finding_code code = finding_code_from_string(word);
    if (code != FINDING_CODE_MAX && finding_is_waivable(code)) {
        f->waived[code] = true;
        return 0;
    }
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0,
                          code == FINDING_CODE_MAX ? "There is no finding '%.60s'"
                                                   : "The finding %.60s cannot be overruled",
                          word);
    char words[240] = "";
    for (size_t i = 0, n = 0; i < FINDING_CODE_MAX && n < sizeof words; i++)
        if (table[i].waivable)
            n += (size_t)snprintf(words + n, sizeof words - n, "%s%s", n ? ", " : "", table[i].word);
    mig_error_hint(err, "These can be: %s", words);
    return r;
}

const struct finding *findings_first_error(const struct findings *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].severity == FINDING_ERROR)
            return &f->items[i];
    return NULL;
}

bool finding_is_waived(const struct finding *f)
{
    return f->severity == FINDING_WARNING && finding_severity_of(f->code) == FINDING_ERROR;
}

size_t findings_count(const struct findings *f, enum finding_severity severity)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->items[i].severity == severity;
    return n;
}

int findings_to_error(const struct findings *f, enum mig_error_code mig_code, struct mig_error *err)
{
    const struct finding *first = findings_first_error(f);
    if (!first)
        return 0;
    int r =
        mig_error_set(err, first->error != MIG_ERR_NONE ? first->error : mig_code, 0, "%s", first->message);
    size_t length = strlen(first->remedy);
    if (length && first->remedy[length - 1] == '.')
        length--;
    mig_error_hint(err, "%.*s (migctl explain %s)", (int)MIN(length, (size_t)200), first->remedy,
                   first->word);
    return r;
}

void findings_clear(struct findings *f)
{
    free(f->items);
    f->items = NULL;
    f->count = f->room = 0;
}

const char *finding_code_to_string(enum finding_code code)
{
    return code < FINDING_CODE_MAX ? table[code].word : "unknown";
}

enum finding_code finding_code_from_string(const char *word)
{
    for (size_t i = 0; i < FINDING_CODE_MAX; i++)
        if (strcmp(table[i].word, word) == 0)
            return (enum finding_code)i;
    return FINDING_CODE_MAX;
}

enum finding_severity finding_severity_of(enum finding_code code)
{
    return code < FINDING_CODE_MAX ? table[code].severity : FINDING_WARNING;
}

bool finding_is_waivable(enum finding_code code)
{
    return code < FINDING_CODE_MAX && table[code].waivable;
}

const char *finding_title(enum finding_code code)
{
    return code < FINDING_CODE_MAX ? table[code].title : "";
}

const char *finding_story(enum finding_code code)
{
    return code < FINDING_CODE_MAX ? table[code].story : "";
}

const char *finding_remedy(enum finding_code code)
{
    return code < FINDING_CODE_MAX ? table[code].remedy : "";
}

const char *finding_severity_to_string(enum finding_severity s)
{
    return severities[s];
}

int finding_severity_from_string(const char *word, enum finding_severity *ret)
{
    for (size_t i = 0; i < ELEMENTS(severities); i++)
        if (strcmp(severities[i], word) == 0) {
            *ret = (enum finding_severity)i;
            return 0;
        }
    return -EINVAL;
}

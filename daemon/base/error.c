/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *word;
    int err;
    int exit_code;
} table[MIG_ERR_MAX] = {[MIG_ERR_NONE] = {"None", EIO, MIGD_EXIT_FAILED},
#define X(symbol, w, e, x) [symbol] = {w, e, x},
                        MIGD_ERROR_TABLE(X)
#undef X
};

static const char *clip(enum mig_error_code code)
{
    return code < MIG_ERR_MAX ? table[code].word : table[MIG_ERR_FAILED].word;
}

int mig_error_set(struct mig_error *e, enum mig_error_code code, int err, const char *format, ...)
{
    if (code <= MIG_ERR_NONE || code >= MIG_ERR_MAX)
        code = MIG_ERR_FAILED;
    if (err <= 0)
        err = table[code].err;
    if (!e)
        return -err;
    e->code = code;
    e->err = err;
    e->hint[0] = '\0';
    va_list ap;
    va_start(ap, format);
    vsnprintf(e->message, sizeof e->message, format, ap);
    va_end(ap);
    return -err;
}

void mig_error_hint(struct mig_error *e, const char *format, ...)
{
    if (!e)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(e->hint, sizeof e->hint, format, ap);
    va_end(ap);
}

int mig_error_wrap(struct mig_error *e, const char *format, ...)
{
    if (!e)
        return -EIO;
    char context[sizeof e->message];
    va_list ap;
    va_start(ap, format);
    vsnprintf(context, sizeof context, format, ap);
    va_end(ap);
    size_t n = strlen(context), room = sizeof e->message - 1;
    if (n + 2 <
        room) { /* a context that fills the whole text would hide the cause: then keep the cause alone */
        size_t keep = MIN(strlen(e->message), room - n - 2);
        memmove(e->message + n + 2, e->message, keep);
        memcpy(e->message, context, n);
        memcpy(e->message + n, ": ", 2);
        e->message[n + 2 + keep] = '\0';
    }
    return e->err > 0 ? -e->err : -EIO;
}

int mig_error_oom(struct mig_error *e)
{
    return mig_error_set(e, MIG_ERR_NO_MEMORY, ENOMEM, "migd is out of memory");
}

void mig_error_clear(struct mig_error *e)
{
    if (e)
        *e = MIG_ERROR_INIT;
}

const char *mig_error_word(enum mig_error_code code)
{
    return clip(code);
}

enum mig_error_code mig_error_from_word(const char *word)
{
    for (int i = MIG_ERR_NONE + 1; word && i < MIG_ERR_MAX; i++)
        if (strcmp(table[i].word, word) == 0)
            return (enum mig_error_code)i;
    return MIG_ERR_FAILED;
}

int mig_error_exit_code(enum mig_error_code code)
{
    return code < MIG_ERR_MAX ? table[code].exit_code : MIGD_EXIT_FAILED;
}

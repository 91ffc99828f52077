/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors that an administrator will read.
 *
 * Theory of operation: helpers and hot paths return a plain negative errno. Where the failure will be shown
 * to a person, the last parameter is a struct mig_error that the function fills where the fact is known
 * ("DMA_UNMAP of 0x1000 on device nic0 timed out after 5 s"), and callers on the way up wrap with what they
 * were about ("turning tracking on: ..."). The struct owns no memory, so it can be copied by assignment, live
 * on the stack, and be filled when memory is short. A function that fails fills it exactly once; on success
 * it is untouched. Passing NULL is always allowed.
 */
#pragma once
#include "base/util.h"
#include "migd-errors.h"

struct mig_error {
    enum mig_error_code code;
    int err;           /* positive errno */
    char message[480]; /* what failed, on which device, why; no trailing dot or newline */
    char hint[280];    /* what to do about it; may be empty */
};

#define MIG_ERROR_INIT                                                                                       \
    (struct mig_error)                                                                                       \
    {                                                                                                        \
        .code = MIG_ERR_NONE                                                                                 \
    }

/* Fills *e. err is a positive errno, or 0 for the code's default from the table. Returns -errno, never 0. */
int mig_error_set(struct mig_error *e, enum mig_error_code code, int err, const char *format, ...)
    _printf_(4, 5);
/* Sets the remedy. */
void mig_error_hint(struct mig_error *e, const char *format, ...) _printf_(2, 3);
/* Puts "context: " before the message. Returns -e->err (or -EIO for NULL), so that `return
 * mig_error_wrap(...)` reads well. */
int mig_error_wrap(struct mig_error *e, const char *format, ...) _printf_(2, 3);
/* For out of memory: fills and returns -ENOMEM. */
int mig_error_oom(struct mig_error *e);
void mig_error_clear(struct mig_error *e);
static inline bool mig_error_is_set(const struct mig_error *e)
{
    return e && e->code != MIG_ERR_NONE;
}

/* "GateFailed" etc.; never NULL. */
const char *mig_error_word(enum mig_error_code code);
/* The code for a word, or MIG_ERR_FAILED for an unknown one: a newer peer may know more. */
enum mig_error_code mig_error_from_word(const char *word);
/* Exit code of migctl for a code. */
int mig_error_exit_code(enum mig_error_code code);

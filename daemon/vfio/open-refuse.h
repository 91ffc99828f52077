/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Refusing to open a device: the sentence, what to do, and the code that `migctl explain` knows. */
#pragma once
#include "base/finding.h"

/* Fills err as mig_error_set does; the hint is the remedy (NULL: that of the table) and the code. e: a
 * positive errno, 0: the default of `code`. */
int open_refuse(struct mig_error *err, enum finding_code finding, enum mig_error_code code, int e,
                const char *remedy, const char *format, ...) _printf_(6, 7);

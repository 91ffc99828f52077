/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio/open-refuse.h"
#include <stdarg.h>
#include <stdio.h>

int open_refuse(struct mig_error *err, enum finding_code finding, enum mig_error_code code, int e,
                const char *remedy, const char *format, ...)
{
    char message[sizeof err->message];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    int r = mig_error_set(err, code, e, "%s", message);
    mig_error_hint(err, "%.220s (migctl explain %s)", remedy ? remedy : finding_remedy(finding),
                   finding_code_to_string(finding));
    return r;
}

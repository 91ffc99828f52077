/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-error.h"
#include <stdio.h>

static void name_and_text(const struct mig_error *e, char *name, size_t name_size, char *text,
                          size_t text_size)
{
    snprintf(name, name_size, MIGD_ERROR_PREFIX "%s",
             mig_error_word(mig_error_is_set(e) ? e->code : MIG_ERR_FAILED));
    snprintf(text, text_size, "%s%s%s", e->message, e->hint[0] ? ". " : "", e->hint);
}

int api_error(sd_bus_error *ret, const struct mig_error *e)
{
    char name[128], text[sizeof e->message + sizeof e->hint + 4];
    name_and_text(e, name, sizeof name, text, sizeof text);
    sd_bus_error_set(ret, name, text);
    return e->err > 0 ? -e->err : -EIO;
}

void api_new_error(sd_bus_message *call, const struct mig_error *e, sd_bus_message **ret)
{
    char name[128], text[sizeof e->message + sizeof e->hint + 4];
    name_and_text(e, name, sizeof name, text, sizeof text);
    sd_bus_message_new_method_errorf(call, ret, name, "%s", text);
}

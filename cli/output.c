/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "output.h"
#include "json-util.h"
#include <stdio.h>
#include <string.h>

bool arg_json = false;

void output_make_safe(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) /* the C1 controls in UTF-8 */
            p[0] = p[1] = '?';
}

void output_error_text(const struct mig_error *err)
{
    struct mig_error safe = *err;
    output_make_safe(safe.message);
    output_make_safe(safe.hint);
    fflush(stdout);
    fprintf(stderr, "migctl: %s\n", safe.message);
    if (safe.hint[0])
        fprintf(stderr, "  %s\n", safe.hint);
}

int output_error_to_json(const struct mig_error *err, struct json_object *object)
{
    struct json_object *error = json_object_new_string(mig_error_word(err->code));
    struct json_object *message = json_object_new_string(err->message),
                       *hint = json_object_new_string(err->hint);
    json_object_object_add(object, "error", error);
    json_object_object_add(object, "message", message);
    json_object_object_add(object, "hint", hint);
    return error && message && hint ? 0 : -ENOMEM;
}

int output_error(const struct mig_error *err)
{
    output_error_text(err);
    if (arg_json) {
        _cleanup_json_ struct json_object *o = json_object_new_object();
        if (o && output_error_to_json(err, o) == 0)
            output_json(o);
        fflush(stdout);
    }
    return mig_error_exit_code(err->code);
}

void output_json(struct json_object *object)
{
    puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
}

void output_json_line(struct json_object *object)
{
    puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
    fflush(stdout);
}

int output_finish(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return MIGD_EXIT_DONE;
    fprintf(stderr, "migctl: cannot write to standard output: %s\n", strerror(errno));
    return MIGD_EXIT_FAILED;
}

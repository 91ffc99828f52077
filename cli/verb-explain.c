/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl explain: the whole story of a finding's code. From the table that migctl was built with: migd need
 * not run. */
#include "base/finding.h"
#include "json-util.h"
#include "output.h"
#include "suggest.h"
#include "verbs.h"
#include "wrap.h"
#include <string.h>

static struct json_object *to_json(enum finding_code code)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "code", json_object_new_string(finding_code_to_string(code)));
    json_object_object_add(o, "severity",
                           json_object_new_string(finding_severity_to_string(finding_severity_of(code))));
    json_object_object_add(o, "waivable", json_object_new_boolean(finding_is_waivable(code)));
    json_object_object_add(o, "title", json_object_new_string(finding_title(code)));
    json_object_object_add(o, "story", json_object_new_string(finding_story(code)));
    json_object_object_add(o, "remedy", json_object_new_string(finding_remedy(code)));
    return o;
}

static const char *consequence(enum finding_code code)
{
    switch (finding_severity_of(code)) {
    case FINDING_ERROR:
        return finding_is_waivable(code)
                   ? "error: a migration is refused, unless it is overruled with --allow"
                   : "error: a migration is refused";
    case FINDING_WARNING:
        return "warning: a migration can be begun, at a price";
    case FINDING_NOTE:
        break;
    }
    return "note: worth knowing";
}

static void print_part(const char *label, const char *text, unsigned width)
{
    printf("%-10s", label);
    print_wrapped(stdout, text, 10, 10, width);
}

static void explain(enum finding_code code)
{
    unsigned width = output_width();
    printf("%s\n\n", finding_code_to_string(code));
    print_wrapped(stdout, finding_title(code), 0, 0, width);
    putchar('\n');
    print_part("Severity:", consequence(code), width);
    print_part("Story:", finding_story(code), width);
    print_part("Remedy:", finding_remedy(code), width);
}

static int unknown(const char *word)
{
    struct mig_error err = MIG_ERROR_INIT;
    const char *words[FINDING_CODE_MAX];
    for (size_t i = 0; i < FINDING_CODE_MAX; i++)
        words[i] = finding_code_to_string((enum finding_code)i);
    const char *near = suggest_nearest(word, words, sizeof words[0], FINDING_CODE_MAX);
    mig_error_set(&err, MIG_ERR_NO_SUCH_OBJECT, 0, "there is no finding %.60s", word);
    if (near)
        mig_error_hint(&err, "Did you mean %s?", near);
    else
        mig_error_hint(&err, "migctl explain lists them; a newer migd may know more than this migctl");
    return output_error(&err);
}

static int list_all(void)
{
    _cleanup_json_ struct json_object *all = arg_json ? json_object_new_array() : NULL;
    for (size_t i = 0; i < FINDING_CODE_MAX; i++) {
        enum finding_code code = (enum finding_code)i;
        if (arg_json)
            json_object_array_add(all, to_json(code));
        else
            printf("%-28s %-8s %s\n", finding_code_to_string(code),
                   finding_severity_to_string(finding_severity_of(code)), finding_title(code));
    }
    if (arg_json)
        output_json(all);
    return output_finish();
}

int verb_explain(const struct args *args)
{
    if (args->n_positional == 0)
        return list_all();
    enum finding_code code = finding_code_from_string(args->positional[0]);
    if (code == FINDING_CODE_MAX)
        return unknown(args->positional[0]);
    if (arg_json) {
        _cleanup_json_ struct json_object *o = to_json(code);
        output_json(o);
    } else {
        explain(code);
    }
    return output_finish();
}

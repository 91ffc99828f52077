/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "check-report.h"
#include "json-util.h"
#include "output.h"
#include "wrap.h"
#include <stdio.h>
#include <string.h>

#define INDENT 9

static bool has_severity(struct json_object *finding, const char *severity)
{
    return strcmp(json_str(finding, "severity"), severity) == 0;
}

/* Those that a migration may be forced through: nothing is missing, but rounds will not help. */
static bool is_about_convergence(struct json_object *finding)
{
    const char *code = json_str(finding, "code");
    return strcmp(code, "container-blind") == 0 || strcmp(code, "convergence-impossible") == 0;
}

struct verdict {
    const char *word;
    char sentence[800];
    size_t errors, warnings;
};

static void judge(struct json_object *findings, struct verdict *v)
{
    struct json_object *stops = NULL, *slows = NULL;
    *v = (struct verdict){0};
    for (size_t i = 0; i < json_length(findings); i++) {
        struct json_object *f = json_object_array_get_idx(findings, i);
        bool error = has_severity(f, "error"), warning = has_severity(f, "warning");
        v->errors += error;
        v->warnings += warning;
        if ((error || warning) && is_about_convergence(f))
            slows = slows ? slows : f;
        else if (error)
            stops = stops ? stops : f;
    }
    if (stops) {
        v->word = "cannot";
        snprintf(v->sentence, sizeof v->sentence, "cannot migrate: %s", json_str(stops, "message"));
    } else if (slows) {
        v->word = "does-not-converge";
        snprintf(v->sentence, sizeof v->sentence, "can migrate but will not converge%s: %s",
                 v->errors ? ", so start refuses without --on-stall force" : "", json_str(slows, "message"));
    } else {
        v->word = "can";
        snprintf(v->sentence, sizeof v->sentence, "can migrate");
        if (v->warnings)
            snprintf(v->sentence, sizeof v->sentence, "can migrate, with %zu warning%s", v->warnings,
                     v->warnings > 1 ? "s" : "");
    }
}

static void print_text(const char *text)
{
    char safe[600];
    snprintf(safe, sizeof safe, "%s", text);
    output_make_safe(safe);
    printf("%*s", INDENT, "");
    print_wrapped(stdout, safe, INDENT, INDENT, output_width());
}

static void print_finding(struct json_object *f)
{
    char head[300];
    const char *subject = json_str(f, "subject");
    bool there = strcmp(json_str(f, "side"), "destination") == 0;
    snprintf(head, sizeof head, "%-*s%s%s%s%s", INDENT, json_str(f, "severity"), json_str(f, "code"),
             *subject ? "  " : "", subject, there ? "  (at the destination)" : "");
    output_make_safe(head);
    puts(head);
    print_text(json_str(f, "message"));
    print_text(json_str(f, "remedy"));
}

static void print_all(const char *domain, struct json_object *findings, const struct verdict *v)
{
    static const char *const order[] = {"error", "warning", "note"};
    char sentence[sizeof v->sentence + 80];
    for (size_t k = 0; k < ELEMENTS(order); k++)
        for (size_t i = 0; i < json_length(findings); i++)
            if (has_severity(json_object_array_get_idx(findings, i), order[k]))
                print_finding(json_object_array_get_idx(findings, i));
    if (json_length(findings))
        putchar('\n');
    snprintf(sentence, sizeof sentence, "%s: %s", domain, v->sentence);
    output_make_safe(sentence);
    print_wrapped(stdout, sentence, 0, 0, output_width());
}

static void print_json(const char *domain, const char *destination, struct json_object *findings,
                       struct json_object *plan, const struct verdict *v)
{
    _cleanup_json_ struct json_object *o = json_object_new_object();
    json_object_object_add(o, "domain", json_object_new_string(domain));
    json_object_object_add(o, "destination", json_object_new_string(destination));
    json_object_object_add(o, "verdict", json_object_new_string(v->word));
    json_object_object_add(o, "sentence", json_object_new_string(v->sentence));
    json_object_object_add(o, "errors", json_object_new_uint64(v->errors));
    json_object_object_add(o, "warnings", json_object_new_uint64(v->warnings));
    json_object_object_add(o, "findings", json_object_get(findings));
    if (plan)
        json_object_object_add(o, "plan", json_object_get(plan));
    output_json(o);
}

int check_report(const char *domain, const char *destination, struct json_object *findings,
                 struct json_object *plan)
{
    struct verdict v;
    judge(findings, &v);
    if (arg_json)
        print_json(domain, destination, findings, plan, &v);
    else
        print_all(domain, findings, &v);
    return v.errors ? MIGD_EXIT_FAILED : MIGD_EXIT_DONE;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* migctl check: what would be in the way of a migration, and what it would cost, with a verdict. */
#include "bus-json.h"
#include "bus.h"
#include "json-util.h"
#include "migd-bus.h"
#include "migration-options.h"
#include "output.h"
#include "verbs.h"
#include "wrap.h"
#include <stdio.h>
#include <string.h>

#define INDENT 9

static int ask(sd_bus *bus, const struct args *args, struct json_object **ret, struct mig_error *err)
{
    _cleanup_free_ char *domain = NULL;
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_domain_path(bus, args->positional[0], &domain, err);
    if (r < 0 || (r = bus_new_call(bus, domain, MIGD_IFACE_DOMAIN, "Check", &m, err)) < 0)
        return r;
    if ((r = sd_bus_message_append(m, "s", args->n_positional > 1 ? args->positional[1] : "")) < 0)
        return bus_message_failed(r, err);
    if ((r = migration_options_append(m, args, err)) < 0)
        return r;
    if ((r = bus_call(bus, m, BUS_CALL_TIMEOUT_USEC, &reply, err)) < 0)
        return r;
    return (r = bus_read_json(reply, ret)) < 0 ? bus_message_failed(r, err) : 0;
}

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

static void print_json(const struct args *args, struct json_object *findings, const struct verdict *v)
{
    _cleanup_json_ struct json_object *o = json_object_new_object();
    json_object_object_add(o, "domain", json_object_new_string(args->positional[0]));
    json_object_object_add(o, "destination",
                           json_object_new_string(args->n_positional > 1 ? args->positional[1] : ""));
    json_object_object_add(o, "verdict", json_object_new_string(v->word));
    json_object_object_add(o, "sentence", json_object_new_string(v->sentence));
    json_object_object_add(o, "errors", json_object_new_uint64(v->errors));
    json_object_object_add(o, "warnings", json_object_new_uint64(v->warnings));
    json_object_object_add(o, "findings", json_object_get(findings));
    output_json(o);
}

int verb_check(const struct args *args)
{
    struct mig_error err = MIG_ERROR_INIT;
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_json_ struct json_object *findings = NULL;
    struct verdict v;
    if (bus_open(&bus, &err) < 0 || ask(bus, args, &findings, &err) < 0)
        return output_error(&err);
    judge(findings, &v);
    if (arg_json)
        print_json(args, findings, &v);
    else
        print_all(args->positional[0], findings, &v);
    int r = output_finish();
    return r != MIGD_EXIT_DONE ? r : v.errors ? MIGD_EXIT_FAILED : MIGD_EXIT_DONE;
}

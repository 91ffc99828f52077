/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "args.h"
#include "suggest.h"
#include "verbs.h"
#include <string.h>

static const struct option_def {
    const char *name; /* first: suggest_nearest() reads it */
    const char *argument;
    unsigned verbs;
    unsigned flags;
    const char *help;
} options[OPT_MAX] = {
#define X(symbol, n, a, v, f, h) [symbol] = {n, a, v, f, h},
    OPTION_TABLE(X)
#undef X
};

static const struct {
    const char *name;
    unsigned bit;
} verb_names[] = {
    {"devices", VERB_DEVICES},   {"register", VERB_REGISTER}, {"list", VERB_LIST},
    {"show", VERB_SHOW},         {"start", VERB_START},       {"monitor", VERB_MONITOR},
    {"status", VERB_STATUS},     {"set", VERB_SET},           {"cancel", VERB_CANCEL},
    {"resolve", VERB_RESOLVE},   {"release", VERB_RELEASE},   {"explain", VERB_EXPLAIN},
    {"check", VERB_CHECK},       {"open", VERB_OPEN},         {"link-test", VERB_LINK_TEST},
    {"evacuate", VERB_EVACUATE},
};

static int find_option(const char *name, size_t length, enum option_id *ret)
{
    for (int i = 0; i < OPT_MAX; i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0) {
            *ret = (enum option_id)i;
            return 0;
        }
    return -ENOENT;
}

static int unknown_option(const char *typed, size_t length, struct mig_error *err)
{
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "unknown option --%.*s",
                          (int)MIN(length, (size_t)100), typed);
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)length, typed);
    const char *near = suggest_nearest(word, options, sizeof options[0], OPT_MAX);
    if (near)
        mig_error_hint(err, "Did you mean --%s?", near);
    else
        mig_error_hint(err, "migctl --help lists verbs and options");
    return r;
}

/* Takes argv[*i], a long option, and its argument. */
static int take_option(struct args *args, int argc, char *argv[], int *i, struct mig_error *err)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    enum option_id id;
    if (find_option(name, length, &id) < 0)
        return unknown_option(name, length, err);
    const struct option_def *def = &options[id];
    const char *value = equals ? equals + 1 : NULL;
    if (value && !def->argument)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "--%s takes no argument", def->name);
    if (!value && def->argument && !(def->flags & OPTION_OPTIONAL)) {
        if (*i + 1 >= argc)
            return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "--%s needs an argument: --%s %s",
                                 def->name, def->name, def->argument);
        value = argv[++*i];
    }
    if (args_has(args, id) && !(def->flags & (OPTION_REPEATS | OPTION_GLOBAL)))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "--%s was given twice", def->name);
    args->given[args->n_given++] = (struct given){.id = id, .value = value};
    return 0;
}

int args_parse(struct args *args, int argc, char *argv[], struct mig_error *err)
{
    *args = (struct args){0};
    args->given = calloc((size_t)argc + 1, sizeof *args->given);
    args->positional = calloc((size_t)argc + 1, sizeof *args->positional);
    if (!args->given || !args->positional)
        return mig_error_oom(err);
    /* --json decides how an error in what stands before it is printed. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) {
            args->given[args->n_given++] = (struct given){.id = OPT_JSON};
            break;
        }

    bool only_arguments = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (only_arguments || word[0] != '-' || word[1] == '\0') {
            if (!args->verb)
                args->verb = word;
            else
                args->positional[args->n_positional++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_arguments = true;
        } else if (strcmp(word, "--json") == 0) {
            continue;
        } else if (strcmp(word, "-h") == 0) {
            args->given[args->n_given++] = (struct given){.id = OPT_HELP};
        } else if (word[1] == 'H') {
            const char *host = word[2] ? word + 2 : i + 1 < argc ? argv[++i] : NULL;
            if (!host)
                return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "-H needs an argument: -H HOST");
            args->given[args->n_given++] = (struct given){.id = OPT_HOST, .value = host};
        } else if (word[1] == '-') {
            int r = take_option(args, argc, argv, &i, err);
            if (r < 0)
                return r;
        } else {
            int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "unknown option %s", word);
            mig_error_hint(err, "Options are written in full, with two dashes; migctl --help lists them");
            return r;
        }
    }
    return 0;
}

int args_check_verb(const struct args *args, unsigned verb_bit, const char *verb, struct mig_error *err)
{
    for (size_t i = 0; i < args->n_given; i++) {
        const struct option_def *def = &options[args->given[i].id];
        if (def->verbs & verb_bit)
            continue;
        char owners[128] = "";
        for (size_t k = 0, n = 0; k < ELEMENTS(verb_names); k++)
            if (def->verbs & verb_names[k].bit)
                n += (size_t)snprintf(owners + n, sizeof owners - n, "%s%s", n ? " and " : "",
                                      verb_names[k].name);
        int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "--%s is an option of %s, not of %s",
                              def->name, owners, verb);
        mig_error_hint(err, "migctl %s --help lists its options", verb);
        return r;
    }
    return 0;
}

void args_done(struct args *args)
{
    free(args->given);
    free(args->positional);
    *args = (struct args){0};
}

bool args_has(const struct args *args, enum option_id id)
{
    for (size_t i = 0; i < args->n_given; i++)
        if (args->given[i].id == id)
            return true;
    return false;
}

const char *args_value(const struct args *args, enum option_id id)
{
    for (size_t i = 0; i < args->n_given; i++)
        if (args->given[i].id == id)
            return args->given[i].value;
    return NULL;
}

const char *args_option_name(enum option_id id)
{
    return options[id].name;
}

void args_print_options(FILE *f, unsigned verb_bit)
{
    for (int i = 0; i < OPT_MAX; i++) {
        const struct option_def *def = &options[i];
        bool global = def->flags & OPTION_GLOBAL;
        if (verb_bit ? global || !(def->verbs & verb_bit) : !global)
            continue;
        char left[48];
        bool optional = def->flags & OPTION_OPTIONAL;
        snprintf(left, sizeof left, "%s--%s%s%s%s",
                 i == OPT_HELP   ? "-h, "
                 : i == OPT_HOST ? "-H, "
                                 : "",
                 def->name, optional ? "[=" : (def->argument ? " " : ""), def->argument ? def->argument : "",
                 optional ? "]" : "");
        fprintf(f, "  %-24s %s\n", left, def->help);
    }
}

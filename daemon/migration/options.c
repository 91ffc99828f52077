/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/options.h"
#include "base/clock.h"
#include <stdio.h>
#include <string.h>

static const char *const stall_words[] = {
    [STALL_ABORT] = "abort", [STALL_FORCE] = "force", [STALL_WAIT] = "wait"};
static const char *const gate_words[] = {
    [GATE_STRICT] = "strict", [GATE_RESEND] = "resend", [GATE_OFF] = "off"};
static const char *const verify_words[] = {
    [VERIFY_OFF] = "off", [VERIFY_POST] = "post", [VERIFY_STRICT] = "strict"};

static const char *const compression_words[] = {[COMPRESSION_OFF] = "off",
                                                [COMPRESSION_LZ4] = "lz4",
                                                [COMPRESSION_ZSTD] = "zstd",
                                                [COMPRESSION_ADAPTIVE] = "adaptive"};

void migration_options_init(struct migration_options *o)
{
    *o = (struct migration_options){
        .max_downtime_usec = 300 * USEC_PER_MSEC,
        .on_stall = STALL_ABORT,
        .gate = GATE_STRICT,
        .gate_resends = 3,
        .reconnect_usec = 30 * USEC_PER_SEC,
        .verify = VERIFY_OFF,
        .max_connections = 8,
    };
}

int migration_options_allow(struct migration_options *o, const char *code, struct mig_error *err)
{
    struct findings f = {0};
    int r = findings_waive(&f, code, err);
    if (r == 0)
        o->allow[finding_code_from_string(code)] = true;
    return r;
}

void migration_options_waive(const struct migration_options *o, struct findings *f)
{
    for (size_t i = 0; i < FINDING_CODE_MAX; i++)
        f->waived[i] |= o->allow[i];
}

static int find_word(const char *const *words, size_t n, const char *what, const char *s,
                     struct mig_error *err)
{
    char list[100] = "";
    for (size_t i = 0; i < n; i++) {
        if (strcmp(words[i], s) == 0)
            return (int)i;
        size_t end = strlen(list);
        snprintf(list + end, sizeof list - end, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", words[i]);
    }
    mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "%s \"%s\" is unknown", what, s);
    mig_error_hint(err, "Use %s", list);
    return -EINVAL;
}

int stall_policy_from_string(const char *s, enum stall_policy *ret, struct mig_error *err)
{
    int r = find_word(stall_words, ELEMENTS(stall_words), "on-stall policy", s, err);
    if (r < 0)
        return r;
    *ret = (enum stall_policy)r;
    return 0;
}

int gate_policy_from_string(const char *s, enum gate_policy *ret, struct mig_error *err)
{
    int r = find_word(gate_words, ELEMENTS(gate_words), "gate policy", s, err);
    if (r < 0)
        return r;
    *ret = (enum gate_policy)r;
    return 0;
}

int verify_mode_from_string(const char *s, enum verify_mode *ret, struct mig_error *err)
{
    int r = find_word(verify_words, ELEMENTS(verify_words), "verify mode", s, err);
    if (r < 0)
        return r;
    *ret = (enum verify_mode)r;
    return 0;
}

int compression_from_string(const char *s, enum compression *ret, struct mig_error *err)
{
    int r = find_word(compression_words, ELEMENTS(compression_words), "compression", s, err);
    if (r < 0)
        return r;
    *ret = (enum compression)r;
    return 0;
}

const char *compression_to_string(enum compression c)
{
    return compression_words[c];
}

const char *stall_policy_to_string(enum stall_policy p)
{
    return stall_words[p];
}

const char *gate_policy_to_string(enum gate_policy p)
{
    return gate_words[p];
}

const char *verify_mode_to_string(enum verify_mode v)
{
    return verify_words[v];
}

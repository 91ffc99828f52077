/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration-options.h"
#include "args.h"
#include "base/parse.h"
#include "bus.h"
#include "suggest.h"
#include <stdio.h>
#include <string.h>

enum form { RATE, TIME, COUNT, WORD, FLAG, TEXT };

static const struct option_key {
    const char *key; /* first: suggest_nearest() reads it */
    enum form form;
    const char *words; /* of a WORD, each followed by a blank */
    bool while_running;
} keys[] = {
    {"bandwidth", RATE, NULL, true},
    {"max-downtime", TIME, NULL, true},
    {"timeout", TIME, NULL, true},
    {"on-stall", WORD, "abort force wait ", true},
    {"gate", WORD, "strict resend off ", true},
    {"gate-resends", COUNT, NULL, true},
    {"max-rounds", COUNT, NULL, true},
    {"reconnect-timeout", TIME, NULL, true},
    {"blackout-limit", TIME, NULL, true},
    {"connections", COUNT, NULL, false},
    {"checksum", FLAG, NULL, false},
    {"verify", WORD, "strict post off ", false},
    {"compression", WORD, "off lz4 zstd adaptive ", false},
    {"without-p2p", FLAG, NULL, false},
    {"peer-domain", TEXT, NULL, false},
    {"engine", WORD, "auto libvirt native ", false},
    {"persistent", FLAG, NULL, false},
    {"undefine-source", FLAG, NULL, false},
    {"auto-converge", FLAG, NULL, false},
};

static bool has_word(const char *words, const char *text)
{
    size_t length = strlen(text);
    for (const char *w = words; *w; w = strchr(w, ' ') + 1)
        if (length && strncmp(w, text, length) == 0 && w[length] == ' ')
            return true;
    return false;
}

static int unknown_key(const char *key, bool while_running, struct mig_error *err)
{
    const char *near = suggest_nearest(key, keys, sizeof keys[0], ELEMENTS(keys));
    int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%.64s: unknown key", key);
    if (near)
        mig_error_hint(err, "Did you mean %s?", near);
    else if (while_running)
        mig_error_hint(err, "The keys are bandwidth, max-downtime, timeout, on-stall, gate, gate-resends, "
                            "max-rounds, reconnect-timeout, blackout-limit");
    return r;
}

static int bad_value(const struct option_key *k, const char *text, int r, struct mig_error *err)
{
    static const char *const wanted[] = {[RATE] = "a rate like 500M or 10Gbit",
                                         [TIME] = "a time like 300ms or 10min",
                                         [COUNT] = "a whole number"};
    if (r == -ERANGE)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ERANGE, "%s: %.64s is too large", k->key, text);
    if (k->form != WORD)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s: \"%.64s\" is not %s", k->key, text,
                             wanted[k->form]);
    mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s: \"%.64s\" is not known", k->key, text);
    mig_error_hint(err, "The words are: %.*s", (int)strlen(k->words) - 1, k->words);
    return -EINVAL;
}

int migration_option_append(sd_bus_message *m, const char *key, const char *text, bool while_running,
                            struct mig_error *err)
{
    const struct option_key *k = NULL;
    for (size_t i = 0; i < ELEMENTS(keys) && !k; i++)
        if (strcmp(keys[i].key, key) == 0)
            k = &keys[i];
    if (!k)
        return unknown_key(key, while_running, err);
    if (while_running && !k->while_running) {
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%s is fixed when a migration starts", key);
        mig_error_hint(err, "It is an option of migctl start");
        return -EINVAL;
    }
    uint64_t number = 0;
    int r = 0;
    switch (k->form) {
    case RATE:
        r = parse_rate(text, &number);
        break;
    case TIME:
        r = parse_usec(text, &number);
        break;
    case COUNT:
        r = parse_unsigned(text, UINT32_MAX, &number);
        break;
    case WORD:
        r = has_word(k->words, text) ? 0 : -EINVAL;
        break;
    case FLAG:
    case TEXT:
        break;
    }
    if (r < 0)
        return bad_value(k, text, r, err);
    switch (k->form) {
    case RATE:
    case TIME:
        r = sd_bus_message_append(m, "{sv}", key, "t", number);
        break;
    case COUNT:
        r = sd_bus_message_append(m, "{sv}", key, "u", (uint32_t)number);
        break;
    case FLAG:
        r = sd_bus_message_append(m, "{sv}", key, "b", 1);
        break;
    case WORD:
    case TEXT:
        r = sd_bus_message_append(m, "{sv}", key, "s", text);
        break;
    }
    return r < 0 ? bus_message_failed(r, err) : 0;
}

static int append_allowed(sd_bus_message *m, const struct args *args, struct mig_error *err)
{
    if (!args_has(args, OPT_ALLOW))
        return 0;
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "allow");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    for (size_t i = 0; r >= 0 && i < args->n_given; i++)
        if (args->given[i].id == OPT_ALLOW)
            r = sd_bus_message_append(m, "s", args->given[i].value);
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

static const struct {
    enum option_id id;
    const char *key;
} wanted[] = {
    {OPT_BANDWIDTH, "bandwidth"},
    {OPT_MAX_DOWNTIME, "max-downtime"},
    {OPT_TIMEOUT, "timeout"},
    {OPT_ON_STALL, "on-stall"},
    {OPT_GATE, "gate"},
    {OPT_GATE_RESENDS, "gate-resends"},
    {OPT_MAX_ROUNDS, "max-rounds"},
    {OPT_RECONNECT_TIMEOUT, "reconnect-timeout"},
    {OPT_BLACKOUT_LIMIT, "blackout-limit"},
    {OPT_CONNECTIONS, "connections"},
    {OPT_CHECKSUM, "checksum"},
    {OPT_VERIFY, "verify"},
    {OPT_COMPRESSION, "compression"},
    {OPT_WITHOUT_P2P, "without-p2p"},
    {OPT_PEER_DOMAIN, "peer-domain"},
    {OPT_ENGINE, "engine"},
    {OPT_PERSISTENT, "persistent"},
    {OPT_UNDEFINE_SOURCE, "undefine-source"},
    {OPT_AUTO_CONVERGE, "auto-converge"},
};

int migration_options_append(sd_bus_message *m, const struct args *args, struct mig_error *err)
{
    return migration_options_append_and(m, args, NULL, err);
}

int migration_options_append_and(sd_bus_message *m, const struct args *args, const char *const *flags,
                                 struct mig_error *err)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r < 0)
        return bus_message_failed(r, err);
    for (size_t i = 0; i < ELEMENTS(wanted); i++) {
        if (!args_has(args, wanted[i].id))
            continue;
        const char *value = args_value(args, wanted[i].id);
        if (!value)
            value = "strict"; /* a bare --verify; flags take no notice of it */
        if ((r = migration_option_append(m, wanted[i].key, value, false, err)) < 0)
            return r;
    }
    for (; flags && *flags; flags++)
        if ((r = migration_option_append(m, *flags, "", false, err)) < 0)
            return r;
    if ((r = append_allowed(m, args, err)) < 0)
        return r;
    r = sd_bus_message_close_container(m);
    return r < 0 ? bus_message_failed(r, err) : 0;
}

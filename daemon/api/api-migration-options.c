/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-migration-options.h"
#include "api/api-options.h"
#include "config/config.h"
#include "domain/domain.h"
#include <stdio.h>

struct words {
    const char *on_stall, *gate, *verify, *compression, *peer_domain;
    struct api_strings allow;
};

static int apply_words(const struct words *w, struct migration_options *o, struct mig_error *err)
{
    int r = 0;
    if (w->on_stall)
        r = stall_policy_from_string(w->on_stall, &o->on_stall, err);
    if (r == 0 && w->gate)
        r = gate_policy_from_string(w->gate, &o->gate, err);
    if (r == 0 && w->verify)
        r = verify_mode_from_string(w->verify, &o->verify, err);
    if (r == 0 && w->compression)
        r = compression_from_string(w->compression, &o->compression, err);
    for (size_t i = 0; i < w->allow.n && r == 0; i++)
        r = migration_options_allow(o, w->allow.values[i], err);
    if (r == 0 && w->peer_domain && *w->peer_domain) {
        r = domain_name_check(w->peer_domain, err);
        snprintf(o->peer_domain, sizeof o->peer_domain, "%s", w->peer_domain);
    }
    if (r == 0 && o->max_downtime_usec == 0)
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a max-downtime of 0 cannot be reached");
    if (r == 0 && o->connections > CONFIG_CONNECTIONS_MAX)
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "%u connections are more than the limit of %u",
                          o->connections, CONFIG_CONNECTIONS_MAX);
    return r;
}

/* Keys that may change come first. */
#define RUNNING_KEYS 9u

#define START_KEYS 16u

static int read_options(sd_bus_message *m, struct migration_options *o, bool running_only,
                        const struct api_option *more, size_t nmore, struct mig_error *err)
{
    struct migration_options next = *o;
    struct words w = {0};
    bool without_p2p = false; /* another word for allowing one of the findings */
    struct api_option options[START_KEYS + API_MORE_OPTIONS_MAX] = {
        {"bandwidth", API_U64, &next.bandwidth_bytes_per_sec},
        {"max-downtime", API_U64, &next.max_downtime_usec},
        {"timeout", API_U64, &next.timeout_usec},
        {"on-stall", API_STRING, &w.on_stall},
        {"gate", API_STRING, &w.gate},
        {"gate-resends", API_U32, &next.gate_resends},
        {"max-rounds", API_U32, &next.max_rounds},
        {"reconnect-timeout", API_U64, &next.reconnect_usec},
        {"blackout-limit", API_U64, &next.blackout_limit_usec},
        {"connections", API_U32, &next.connections},
        {"checksum", API_BOOL, &next.checksum},
        {"verify", API_STRING, &w.verify},
        {"compression", API_STRING, &w.compression},
        {"without-p2p", API_BOOL, &without_p2p},
        {"allow", API_STRINGS, &w.allow},
        {"peer-domain", API_STRING, &w.peer_domain},
    };
    for (size_t i = 0; i < nmore; i++)
        options[START_KEYS + i] = more[i];
    int r = api_options_read(m, options, running_only ? RUNNING_KEYS : START_KEYS + nmore, err);
    if (r == 0)
        r = apply_words(&w, &next, err);
    if (r == 0)
        *o = next;
    if (r == 0)
        o->allow[FINDING_DEVICE_NO_P2P] |= without_p2p;
    return r;
}

int api_read_start_options(sd_bus_message *m, struct migration_options *o, struct mig_error *err)
{
    return read_options(m, o, false, NULL, 0, err);
}

int api_read_start_options_and(sd_bus_message *m, struct migration_options *o, const struct api_option *more,
                               size_t nmore, struct mig_error *err)
{
    return read_options(m, o, false, more, MIN(nmore, (size_t)API_MORE_OPTIONS_MAX), err);
}

int api_read_running_options(sd_bus_message *m, struct migration_options *o, struct mig_error *err)
{
    return read_options(m, o, true, NULL, 0, err);
}

static int append_allowed(sd_bus_message *m, const struct migration_options *o)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "allow");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    for (int i = 0; r >= 0 && i < FINDING_CODE_MAX; i++)
        if (o->allow[i])
            r = sd_bus_message_append(m, "s", finding_code_to_string((enum finding_code)i));
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

int api_append_options(sd_bus_message *m, const struct migration_options *o)
{
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"bandwidth", o->bandwidth_bytes_per_sec},
                   {"max-downtime", o->max_downtime_usec},
                   {"timeout", o->timeout_usec},
                   {"reconnect-timeout", o->reconnect_usec},
                   {"blackout-limit", o->blackout_limit_usec}},
      counts[] = {{"gate-resends", o->gate_resends},
                  {"max-rounds", o->max_rounds},
                  {"connections", o->connections}},
      flags[] = {{"checksum", o->checksum}, {"without-p2p", o->allow[FINDING_DEVICE_NO_P2P]}};
    const struct {
        const char *key, *value;
    } words[] = {{"on-stall", stall_policy_to_string(o->on_stall)},
                 {"gate", gate_policy_to_string(o->gate)},
                 {"verify", verify_mode_to_string(o->verify)},
                 {"compression", compression_to_string(o->compression)},
                 {"peer-domain", o->peer_domain}};
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    for (size_t i = 0; r >= 0 && i < ELEMENTS(numbers); i++)
        r = sd_bus_message_append(m, "{sv}", numbers[i].key, "t", numbers[i].value);
    for (size_t i = 0; r >= 0 && i < ELEMENTS(counts); i++)
        r = sd_bus_message_append(m, "{sv}", counts[i].key, "u", (uint32_t)counts[i].value);
    for (size_t i = 0; r >= 0 && i < ELEMENTS(flags); i++)
        r = sd_bus_message_append(m, "{sv}", flags[i].key, "b", (int)flags[i].value);
    for (size_t i = 0; r >= 0 && i < ELEMENTS(words); i++)
        r = sd_bus_message_append(m, "{sv}", words[i].key, "s", words[i].value);
    if (r >= 0)
        r = append_allowed(m, o);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

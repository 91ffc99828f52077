/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-migration-options.h"
#include "api/api-options.h"
#include "config/config.h"
#include "domain/domain.h"
#include <stdio.h>

struct words {
    const char *on_stall, *gate, *verify, *peer_domain;
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
#define RUNNING_KEYS 7u

static int read_options(sd_bus_message *m, struct migration_options *o, bool running_only,
                        struct mig_error *err)
{
    struct migration_options next = *o;
    struct words w = {0};
    const struct api_option options[] = {
        {"bandwidth", API_U64, &next.bandwidth_bytes_per_sec},
        {"max-downtime", API_U64, &next.max_downtime_usec},
        {"timeout", API_U64, &next.timeout_usec},
        {"on-stall", API_STRING, &w.on_stall},
        {"gate", API_STRING, &w.gate},
        {"gate-resends", API_U32, &next.gate_resends},
        {"max-rounds", API_U32, &next.max_rounds},
        {"connections", API_U32, &next.connections},
        {"checksum", API_BOOL, &next.checksum},
        {"verify", API_STRING, &w.verify},
        {"without-p2p", API_BOOL, &next.allow[FINDING_DEVICE_NO_P2P]},
        {"peer-domain", API_STRING, &w.peer_domain},
    };
    int r = api_options_read(m, options, running_only ? RUNNING_KEYS : ELEMENTS(options), err);
    if (r == 0)
        r = apply_words(&w, &next, err);
    if (r == 0)
        *o = next;
    return r;
}

int api_read_start_options(sd_bus_message *m, struct migration_options *o, struct mig_error *err)
{
    return read_options(m, o, false, err);
}

int api_read_running_options(sd_bus_message *m, struct migration_options *o, struct mig_error *err)
{
    return read_options(m, o, true, err);
}

int api_append_options(sd_bus_message *m, const struct migration_options *o)
{
    return sd_bus_message_append(
        m, "a{sv}", 12, "bandwidth", "t", o->bandwidth_bytes_per_sec, "max-downtime", "t",
        o->max_downtime_usec, "timeout", "t", o->timeout_usec, "on-stall", "s",
        stall_policy_to_string(o->on_stall), "gate", "s", gate_policy_to_string(o->gate), "gate-resends", "u",
        o->gate_resends, "max-rounds", "u", o->max_rounds, "connections", "u", o->connections, "checksum",
        "b", o->checksum, "verify", "s", verify_mode_to_string(o->verify), "without-p2p", "b",
        o->allow[FINDING_DEVICE_NO_P2P], "peer-domain", "s", o->peer_domain);
}

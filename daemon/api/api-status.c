/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/api-status.h"
#include "api/api-migration-options.h"
#include <stdlib.h>

static int append_words(sd_bus_message *m, const struct migration_status *s)
{
    const bool failed = mig_error_is_set(&s->error);
    return sd_bus_message_append(
        m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "id", "s", s->id,
        "engine", "s", s->engine, "domain", "s", s->domain, "direction", "s",
        migration_direction_to_string(s->direction), "peer", "s", s->peer, "state", "s",
        mig_state_to_string(s->state), "phase", "s", mig_phase_to_string(s->phase), "round", "u", s->round,
        "verdict", "s", s->verdict, "error", "s", failed ? mig_error_word(s->error.code) : "", "message", "s",
        failed ? s->error.message : "", "hint", "s", failed ? s->error.hint : "", "cancel-requested", "b",
        s->cancel_requested, "paused", "b", s->paused, "gate", "s", s->gate, "verify", "s", s->verify,
        "connections-why", "s", s->connections_why, "engine-why", "s", s->engine_why);
}

static int append_counters(sd_bus_message *m, const struct migration_counters *c)
{
    int r = 0;
#define X(field, key, unit)                                                                                  \
    if (r >= 0)                                                                                              \
        r = sd_bus_message_append(m, "{sv}", key, "t", c->field);
    MIGD_STATUS_TABLE(X)
#undef X
    return r;
}

static int append_trackers(sd_bus_message *m, const struct migration_status *s)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "trackers");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "aa{sv}");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < s->ntrackers; i++) {
        const struct migration_tracker_status *t = &s->tracker[i];
        r = sd_bus_message_append(
            m, "a{sv}", 9, "name", "s", t->name, "kind", "s", t->kind, "device", "s", t->device, "harvests",
            "t", t->harvests, "pages-reported", "t", t->pages_reported, "pages-first", "t", t->pages_first,
            "gate-pages", "t", t->gate_pages, "page-size", "t", t->granularity_bytes, "blind", "b", t->blind);
    }
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_options(sd_bus_message *m, const struct migration_options *o)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "options");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a{sv}");
    if (r >= 0)
        r = api_append_options(m, o);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int api_append_status(sd_bus_message *m, struct migration *migration)
{
    struct migration_status s;
    migration_get_status(migration, &s);
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = append_words(m, &s);
    if (r >= 0)
        r = append_counters(m, &s.counters);
    if (r >= 0)
        r = append_trackers(m, &s);
    if (r >= 0)
        r = append_options(m, &s.options);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int api_append_round(sd_bus_message *m, const struct migration_round *round)
{
    return sd_bus_message_append(m, "a{sv}", 11, "round", "u", round->round, "pages", "t", round->pages,
                                 "bytes", "t", round->bytes, "zero-pages", "t", round->zero_pages, "duration",
                                 "t", round->duration_usec, "bandwidth", "t", round->bandwidth, "dirty-pages",
                                 "t", round->dirty_pages, "dirty-rate", "t", round->dirty_rate,
                                 "expected-downtime", "t", round->expected_downtime_usec, "decision", "s",
                                 round->decision, "verdict", "s", round->verdict);
}

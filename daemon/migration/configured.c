/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/configured.h"

/* A word that the configuration took as it stood. */
static int word_failed(const struct config *c, const char *name, struct mig_error *err)
{
    mig_error_wrap(err, "%s", config_origin(c, "Migration", name));
    err->code = MIG_ERR_CONFIG;
    return -err->err;
}

int migration_options_configure(struct migration_options *o, const struct config *c, struct mig_error *err)
{
    migration_options_init(o);
    o->max_downtime_usec = c->max_downtime_usec;
    o->bandwidth_bytes_per_sec = c->bandwidth_bytes_per_sec;
    o->connections = c->connections;
    o->max_connections = c->max_connections;
    o->reconnect_usec = c->reconnect_usec;
    if (c->on_stall[0] && stall_policy_from_string(c->on_stall, &o->on_stall, err) < 0)
        return word_failed(c, "OnStall", err);
    if (c->gate[0] && gate_policy_from_string(c->gate, &o->gate, err) < 0)
        return word_failed(c, "Gate", err);
    if (c->verify[0] && verify_mode_from_string(c->verify, &o->verify, err) < 0)
        return word_failed(c, "Verify", err);
    if (c->compression[0] && compression_from_string(c->compression, &o->compression, err) < 0)
        return word_failed(c, "Compression", err);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migration/journal.h"
#include <stdio.h>

struct log_fields migration_log_fields(const struct migration *m, enum migd_message message)
{
    return (struct log_fields){
        .message = message,
        .domain = migration_domain(m),
        .migration = migration_id(m),
        .peer = migration_peer(m),
    };
}

static bool goes_out(const struct migration *m)
{
    return migration_direction(m) == MIGRATION_OUTGOING;
}

void migration_log_begun(struct migration *m)
{
    const struct log_fields fields = migration_log_fields(m, MESSAGE_MIGRATION_BEGUN);
    log_write(LOG_NOTICE, &fields, "Migration %s of %s %s %s begins", migration_id(m), migration_domain(m),
              goes_out(m) ? "to" : "from", migration_peer(m));
}

static enum migd_message message_of(enum mig_state state)
{
    switch (state) {
    case MIG_STATE_COMPLETED:
        return MESSAGE_MIGRATION_COMPLETED;
    case MIG_STATE_CANCELLED:
        return MESSAGE_MIGRATION_CANCELLED;
    case MIG_STATE_IN_DOUBT:
        return MESSAGE_MIGRATION_IN_DOUBT;
    default:
        return MESSAGE_MIGRATION_FAILED;
    }
}

void migration_log_ended(struct migration *m, enum mig_state state, const struct mig_error *err)
{
    struct log_fields fields = migration_log_fields(m, message_of(state));
    fields.phase = mig_phase_to_string(migration_get_phase(m));
    if (err)
        log_mig_error(state == MIG_STATE_CANCELLED ? LOG_NOTICE : LOG_ERR, &fields, err,
                      goes_out(m) ? "Migration ended" : "Incoming migration ended");
    else if (goes_out(m))
        log_write(LOG_NOTICE, &fields, "Migration of %s to %s completed", migration_domain(m),
                  migration_peer(m));
    else
        log_write(LOG_NOTICE, &fields, "Incoming migration of %s completed: it runs here",
                  migration_domain(m));
}

void migration_log_resolved(struct migration *m, bool run_here, uint32_t uid)
{
    struct log_fields fields = migration_log_fields(m, MESSAGE_MIGRATION_RESOLVED);
    char who[12];
    snprintf(who, sizeof who, "%u", uid);
    fields.caller_uid = who;
    fields.reason = run_here ? "run" : "drop";
    log_write(LOG_WARNING, &fields, "migration %s: user %s decided: %s", migration_id(m), who,
              run_here ? "run here" : "drop here");
}

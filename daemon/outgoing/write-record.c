/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/job.h"
#include <stdio.h>

int job_write_record(struct job *j, enum record_state state, struct mig_error *err)
{
    struct record rec = {.state = state};
    snprintf(rec.id, sizeof rec.id, "%s", migration_id(j->migration));
    snprintf(rec.domain, sizeof rec.domain, "%s", j->domain->name);
    snprintf(rec.peer, sizeof rec.peer, "%s", j->destination);
    snprintf(rec.token, sizeof rec.token, "%s", j->token);
    int r = record_write(j->runtime_dir, &rec, err);
    if (r == 0)
        j->recorded = true;
    return r;
}

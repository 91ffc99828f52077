/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon in one line, for `systemctl status`: what migrates, or what it waits for. */
#include "api/api-context.h"
#include "loop/notify.h"
#include <stdio.h>
#include <string.h>

static int describe(struct migration *m, char *text, size_t size)
{
    struct migration_status s;
    migration_get_status(m, &s);
    return snprintf(text, size, "%s %s %s %.80s (%s, round %u): %.300s",
                    s.state == MIG_STATE_IN_DOUBT ? "In doubt:" : "Migrating", s.domain,
                    s.direction == MIGRATION_OUTGOING ? "to" : "from", s.peer, mig_phase_to_string(s.phase),
                    s.round, s.verdict);
}

void api_tell_summary(struct api *a)
{
    char text[sizeof a->summary] = "";
    size_t open = 0;
    for (size_t i = a->nmigrations; i-- > 0;) {
        enum mig_state state = migration_get_state(a->migrations[i]->migration);
        if (state != MIG_STATE_RUNNING && state != MIG_STATE_IN_DOUBT)
            continue;
        if (open++ == 0)
            describe(a->migrations[i]->migration, text, sizeof text - 40);
    }
    if (open > 1)
        snprintf(text + strlen(text), sizeof text - strlen(text), "; and %zu more", open - 1);
    if (open == 0)
        snprintf(text, sizeof text, "%zu domain%s; %s%.200s", a->ndomains, a->ndomains == 1 ? "" : "s",
                 *a->peer_address ? "peers reach it at " : "not listening for peers", a->peer_address);
    if (strcmp(text, a->summary) == 0)
        return;
    strcpy(a->summary, text);
    notify_status("%s", text);
}

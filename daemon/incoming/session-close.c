/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/session.h"

void session_close(struct session *s)
{
    session_end_receiving(s);
    session_end_heartbeat(s);
    session_set_resumable(s, false);
    if (s->ledger)
        space_ledger_forget(s->ledger, s);
    s->control = channel_free(s->control);
    s->state = state_apply_free(s->state);
    session_free_digests(s);
    free(s->regions);
    s->regions = NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/job.h"

/* When a connection breaks, the peer often has said why on the control connection. */
int job_explain_break(struct job *j, int error, struct mig_error *err)
{
    if (!err ||
        (err->code != MIG_ERR_PEER_LOST && err->code != MIG_ERR_PEER_TIMEOUT && err->code != MIG_ERR_FAILED))
        return error;
    if (link_watch_has_fired(j->watch)) {
        mig_error_set(err, MIG_ERR_PEER_TIMEOUT, ETIMEDOUT,
                      "the network to %s is silent: nothing that was sent there is acknowledged",
                      j->destination);
        mig_error_hint(err, "check the link, and that the host is up");
        return -ETIMEDOUT;
    }
    static const char *const names[] = {"fence", "pong", NULL};
    const struct dialogue_expect expect = {
        .names = names, .timeout_usec = DIALOGUE_REASON_USEC, .what = "a reason"};
    for (int i = 0; i < 4; i++) {
        struct mig_error said = MIG_ERROR_INIT;
        _cleanup_(json_object_putp) struct json_object *o = NULL;
        int name, r = dialogue_receive(&j->control_stream, &expect, &name, &o, NULL, &said);
        if (r == 0)
            continue; /* an older answer */
        if (r == -ECONNABORTED || (said.code != MIG_ERR_PEER_LOST && said.code != MIG_ERR_PEER_TIMEOUT))
            *err = said;
        break;
    }
    return -err->err;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/check-peer.h"
#include "base/clock.h"
#include "base/printable.h"
#include "migration/dialogue.h"
#include "migration/findings-json.h"
#include "outgoing/hello.h"
#include "transport/security.h"
#include <string.h>

#define CONNECT_TIMEOUT_USEC (10 * USEC_PER_SEC)

/* What went wrong with the peer is a finding; what went wrong here stays an error. */
static int find(struct findings *ret, enum finding_code code, const char *destination, struct mig_error *why,
                struct mig_error *err)
{
    if (why->code == MIG_ERR_CANCELLED || why->code == MIG_ERR_NO_MEMORY ||
        why->code == MIG_ERR_INVALID_ARGUMENT) {
        if (err)
            *err = *why;
        return -why->err;
    }
    make_printable(why->message);
    make_printable(why->hint);
    return findings_add(ret, code, destination, why->hint[0] ? why->hint : NULL, "%s", why->message) < 0
               ? mig_error_oom(err)
               : 0;
}

static enum finding_code code_of(const struct mig_error *why)
{
    return why->code == MIG_ERR_PEER_LOST || why->code == MIG_ERR_PEER_TIMEOUT ? FINDING_PEER_NO_ANSWER
                                                                               : FINDING_PEER_BREAKS_PROTOCOL;
}

static enum finding_code code_of_connect(const struct mig_error *why)
{
    if (why->code != MIG_ERR_PEER_UNTRUSTED)
        return why->code == MIG_ERR_PEER_PROTOCOL ? FINDING_PEER_BREAKS_PROTOCOL : FINDING_PEER_UNREACHABLE;
    return why->err == EACCES            ? FINDING_TLS_REFUSED_BY_PEER
           : why->err == EPROTONOSUPPORT ? FINDING_TLS_ONE_SIDED
                                         : FINDING_TLS_PEER_UNTRUSTED;
}

/* A migd that does not know the question takes it for a broken beginning of something else. */
static int hear_refusal(struct json_object *answer, const char *destination, struct findings *ret,
                        struct mig_error *err)
{
    struct mig_error why = MIG_ERROR_INIT;
    dialogue_peer_error(answer, "The destination refuses the check", &why);
    if (why.code != MIG_ERR_PEER_PROTOCOL) {
        if (why.code == MIG_ERR_CANCELLED || why.code == MIG_ERR_NO_MEMORY ||
            why.code == MIG_ERR_INVALID_ARGUMENT)
            why.code = MIG_ERR_PEER_REFUSED; /* the peer's trouble, not ours */
        return find(ret, FINDING_PEER_REFUSES, destination, &why, err);
    }
    return findings_add(ret, FINDING_PEER_TOO_OLD, destination, NULL,
                        "migd at %s does not know the question what it has: its side cannot be checked",
                        destination) < 0
               ? mig_error_oom(err)
               : 0;
}

static int hear(struct json_object *answer, const char *destination, struct findings *ret,
                struct mig_error *err)
{
    struct mig_error why = MIG_ERROR_INIT;
    bool ok;
    if (json_object_object_get_ex(answer, "error", NULL))
        return hear_refusal(answer, destination, ret, err);
    int r = json_get_bool(answer, "ok", &ok) < 0 || !ok
                ? mig_error_set(&why, MIG_ERR_PEER_PROTOCOL, 0, "it says neither yes nor no")
                : findings_hear(answer, ret, &why);
    if (r == 0)
        return 0;
    mig_error_wrap(&why, "The answer of %s makes no sense", destination);
    return find(ret, FINDING_PEER_BREAKS_PROTOCOL, destination, &why, err);
}

int outgoing_check_peer(struct security *security, struct domain *d, const char *destination,
                        const struct migration_options *o, int cancel_fd, struct findings *ret,
                        struct mig_error *err)
{
    struct mig_error why = MIG_ERROR_INIT;
    _cleanup_(channel_freep) struct channel *c = NULL;
    _cleanup_(json_object_putp) struct json_object *hello = hello_new(d, o, 1), *answer = NULL;
    if (!hello || json_add_bool(hello, "check", true) < 0)
        return mig_error_oom(err);
    if (security_connect(security, &c, destination, NULL, CONNECT_TIMEOUT_USEC, cancel_fd, &why) < 0)
        return why.code == MIG_ERR_CREDENTIALS /* check_facts has told it */
                   ? 0
                   : find(ret, code_of_connect(&why), destination, &why, err);
    struct frame_stream s;
    frame_stream_init(&s, c, true);
    if (dialogue_hello_raw(&s, hello, &answer, &why) < 0)
        return find(ret, code_of(&why), destination, &why, err);
    return hear(answer, destination, ret, err);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "incoming/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "incoming/compare.h"
#include "migration/dialogue.h"
#include "migration/findings-json.h"

struct asked {
    struct channel *channel;
    struct frame_stream stream;
    struct json_object *hello;
    struct here here;
    bool known; /* there is a domain of that name, and here is filled */
    struct findings found;
};

static void asked_free(struct asked *a)
{
    channel_free(a->channel);
    json_object_put(a->hello);
    here_drop(&a->here);
    findings_clear(&a->found);
    free(a);
}

static int send_findings(struct asked *a, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_bool(o, "ok", true) < 0 || json_add_u64(o, "protocol", DIALOGUE_PROTOCOL) < 0 ||
        json_add_string(o, "version", PACKAGE_VERSION) < 0 || findings_tell(&a->found, o) < 0)
        return mig_error_oom(err);
    return frame_send_json(&a->stream, WIRE_HELLO, o, err);
}

static void run(void *userdata)
{
    struct asked *a = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    int r = compare_hello(a->hello, a->known ? &a->here : NULL, &a->found, &err);
    if (r == 0)
        r = send_findings(a, &err);
    else
        dialogue_refuse(&a->stream, &err);
    if (r < 0)
        log_info("Check by %s: %s", a->channel->peer, err.message);
    else
        log_info("Check by %s of domain %s: %zu errors, %zu warnings", a->channel->peer,
                 a->known ? a->here.name : "that is not here", findings_count(&a->found, FINDING_ERROR),
                 findings_count(&a->found, FINDING_WARNING));
    asked_free(a);
}

static int look(struct asked *a, struct registry *registry, bool accept_overrides, struct mig_error *err)
{
    const char *name;
    if (json_get_string(a->hello, "domain", &name) < 0)
        return mig_error_set(err, MIG_ERR_PEER_PROTOCOL, 0, "HELLO names no domain");
    struct domain *d = registry_find(registry, name);
    int r = compare_domain(d, name, &a->found);
    if (r == 0 && d)
        r = here_take(&a->here, d, accept_overrides);
    a->known = d && r == 0;
    return r < 0 ? mig_error_oom(err) : 0;
}

void check_answer(struct greeter *g, struct registry *registry, struct channel *channel,
                  const struct frame_stream *stream, struct json_object *hello, struct space_ledger *ledger,
                  bool accept_overrides)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct asked *a = calloc(1, sizeof *a);
    if (!a) {
        channel_free(channel);
        json_object_put(hello);
        return;
    }
    a->channel = channel;
    a->stream = *stream;
    a->hello = hello;
    channel->cancel_fd = g->cancel_fd;
    channel->deadline_usec = deadline_in(GREETING_TIMEOUT_USEC);
    int r = look(a, registry, accept_overrides, &err);
    a->here.ledger = a->known ? space_ledger_ref(ledger) : NULL;
    if (r == 0) {
        r = greeter_run(g, run, a);
        if (r < 0)
            mig_error_set(&err, MIG_ERR_BUSY, -r, "Too many connections that have not said HELLO");
    }
    if (r < 0) {
        dialogue_refuse(&a->stream, &err);
        asked_free(a);
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domain.Check: what would be in the way of a migration, on this side and at the destination. What this
 * process knows is looked at on the main thread; devices and the peer are asked by a helper, for which the
 * domain is busy.
 */
#include "api/api-domain.h"
#include "api/api-findings.h"
#include "api/api-job.h"
#include "api/api-migration-options.h"
#include "outgoing/check-peer.h"
#include <stdio.h>
#include <string.h>

/* Less than this says more about latency than about the link. */
#define BANDWIDTH_MIN_BYTES (UINT64_C(64) << 20)

struct check_work {
    struct domain *domain; /* held by the job */
    struct migration_options options;
    struct check_request request; /* points into this struct */
    char destination[256];
    struct findings findings;
};

uint64_t api_known_bandwidth(const char *destination, void *userdata)
{
    struct api *a = userdata;
    for (size_t i = a->nmigrations; i-- > 0;) {
        struct migration_status st;
        migration_get_status(a->migrations[i]->migration, &st);
        if (st.direction == MIGRATION_OUTGOING && strcmp(st.peer, destination) == 0 &&
            st.counters.bandwidth && !st.options.bandwidth_bytes_per_sec &&
            st.counters.wire_bytes >= BANDWIDTH_MIN_BYTES)
            return st.counters.bandwidth;
    }
    return 0;
}

static int ask(void *work, int cancel_fd, struct mig_error *err)
{
    struct check_work *w = work;
    if (check_asks(w->domain, &w->request, false, &w->findings) < 0)
        return mig_error_oom(err);
    if (!*w->destination)
        return 0;
    return outgoing_check_peer(w->request.security, w->domain, w->destination, &w->options, cancel_fd,
                               &w->findings, err);
}

static int nothing_to_take(void *work, struct mig_error *err)
{
    return 0;
}

static int answer(void *work, sd_bus_message *reply)
{
    return api_append_findings(reply, &((struct check_work *)work)->findings);
}

static void free_work(void *work)
{
    struct check_work *w = work;
    findings_clear(&w->findings);
    free(w);
}

static const struct api_job_ops check_ops = {
    .run_until = ask, .finish = nothing_to_take, .answer = answer, .free = free_work};

static int new_work(struct api_domain *ad, sd_bus_message *m, struct check_work **ret, struct mig_error *err)
{
    const char *destination;
    if (sd_bus_message_read(m, "s", &destination) < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "a destination is missing");
    struct check_work *w = calloc(1, sizeof *w);
    if (!w)
        return mig_error_oom(err);
    int r = 0;
    if (strlen(destination) >= sizeof w->destination)
        r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "The destination is too long");
    w->domain = ad->domain;
    w->options = ad->api->o.defaults;
    snprintf(w->destination, sizeof w->destination, "%s", destination);
    if (r == 0)
        r = api_read_start_options(m, &w->options, err);
    if (r == 0) {
        outgoing_make_request(&w->request, ad->api->o.outgoing, w->destination, &w->options);
        check_waive(&w->findings, &w->options);
        if (check_facts(w->domain, &w->request, &w->findings) < 0)
            r = mig_error_oom(err);
    }
    if (r < 0) {
        free_work(w);
        return r;
    }
    *ret = w;
    return 0;
}

/* For a domain whose parts nobody may ask now: what is known of it. */
static int answer_now(struct check_work *w, sd_bus_message *m)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = answer(w, reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    free_work(w);
    return r < 0 ? r : 1;
}

int api_domain_check(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api_domain *ad = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    struct check_work *w = NULL;
    if (api_domain_open(ad, &e) < 0 || new_work(ad, m, &w, &e) < 0)
        return api_error(error, &e);
    if (!check_may_ask(ad->domain))
        return answer_now(w, m);
    int r = api_job_start(ad->api, m, ad->domain, "Check", &check_ops, w, &e);
    return r < 0 ? api_error(error, &e) : r;
}

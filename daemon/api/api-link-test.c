/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Manager.LinkTest: a helper measures (outgoing/link-test.h), and the call is answered when it has. Where a
 * domain is named, which then is busy with it, the helper also asks its devices how large their state is.
 */
#include "api/api-link-test.h"
#include "api/api-job.h"
#include "api/api-options.h"
#include "base/clock.h"
#include "outgoing/link-test.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What a blackout costs beside bytes, as rounds.c assumes: state changes, calls, and answers of the peer. */
#define FIXED_USEC              (5 * USEC_PER_MSEC)
#define ROUND_TRIPS_IN_BLACKOUT 3

struct link_test_work {
    const struct outgoing_context *context;
    char host[256];
    struct domain *domain; /* held by the job; NULL: none */
    uint64_t memory_bytes, state_bytes;
    struct link_test result;
};

static void ask_domain(struct link_test_work *w)
{
    for (size_t i = 0; i < w->domain->nmemory; i++) {
        const struct region *r = w->domain->memory[i].region;
        struct stat st;
        bool known = fstat(r->fd, &st) == 0 && st.st_blocks > 0; /* holes are not sent */
        w->memory_bytes += known ? MIN((uint64_t)st.st_blocks * 512, r->size_bytes) : r->size_bytes;
    }
    for (size_t i = 0; i < w->domain->ndevices; i++) {
        struct device *d = w->domain->devices[i].device;
        uint64_t bytes = 0;
        if (d->ops->info(d)->has_stop_copy_size && d->ops->stop_copy_size(d, &bytes, NULL) == 0)
            w->state_bytes += bytes;
    }
}

static int measure(void *work, int cancel_fd, struct mig_error *err)
{
    struct link_test_work *w = work;
    if (w->domain)
        ask_domain(w);
    return outgoing_link_test(&w->result, w->context->security, w->host, w->context->total, cancel_fd, err);
}

static int nothing_to_take(void *work, struct mig_error *err)
{
    return 0;
}

static int append_step(sd_bus_message *m, const struct link_test_step *s)
{
    return sd_bus_message_append(m, "a{sv}", 5, "connections", "u", (uint32_t)s->connections, "bandwidth",
                                 "t", s->bytes_per_sec, "bytes", "t", s->bytes, "sender-cpu", "t",
                                 s->sender_cpu_usec, "receiver-cpu", "t", s->receiver_cpu_usec);
}

static uint64_t usec_for(uint64_t bytes, uint64_t bytes_per_sec)
{
    return (uint64_t)((double)bytes * USEC_PER_SEC / (double)MAX(bytes_per_sec, UINT64_C(1)));
}

static int append_link(sd_bus_message *m, const struct link_test_work *w)
{
    const struct link_test *t = &w->result;
    const struct link_test_step *best = &t->steps[t->best];
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "transport", "s", t->kind, "cipher",
                                  "s", t->cipher, "bandwidth", "t", best->bytes_per_sec, "connections", "u",
                                  (uint32_t)best->connections, "round-trip", "t", t->round_trip_usec,
                                  "loaded-round-trip", "t", t->loaded_rtt_usec, "retransmissions", "t",
                                  t->retransmissions, "cap", "t", t->cap_bytes_per_sec);
    if (r >= 0 && w->domain)
        r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "memory", "t", w->memory_bytes, "device-state", "t",
                                  w->state_bytes, "full-send", "t",
                                  usec_for(w->memory_bytes, best->bytes_per_sec), "blackout", "t",
                                  FIXED_USEC + ROUND_TRIPS_IN_BLACKOUT * t->round_trip_usec +
                                      usec_for(w->state_bytes, best->bytes_per_sec));
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int answer(void *work, sd_bus_message *reply)
{
    const struct link_test *t = &((struct link_test_work *)work)->result;
    int r = append_link(reply, work);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (size_t i = 0; r >= 0 && i < t->nsteps; i++)
        r = append_step(reply, &t->steps[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static const struct api_job_ops ops = {
    .run_until = measure, .finish = nothing_to_take, .answer = answer, .free = free};

int api_method_link_test(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct api *a = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    const char *host, *name = "";
    const struct api_option options[] = {{"domain", API_STRING, &name}};
    struct api_domain *ad = NULL;
    int r = sd_bus_message_read(m, "s", &host);
    if (r < 0)
        return r;
    if (api_options_read(m, options, ELEMENTS(options), &e) < 0)
        return api_error(error, &e);
    if (*name && !(ad = api_find_domain(a, name))) {
        mig_error_set(&e, MIG_ERR_NO_SUCH_DOMAIN, 0, "there is no domain named %.80s", name);
        mig_error_hint(&e, "migctl list shows those that are registered");
        return api_error(error, &e);
    }
    struct link_test_work *w = calloc(1, sizeof *w);
    if (!w)
        return api_error(error, (mig_error_oom(&e), &e));
    w->context = a->o.outgoing;
    w->domain = ad ? ad->domain : NULL;
    if (!*host || strlen(host) >= sizeof w->host) {
        free(w);
        mig_error_set(&e, MIG_ERR_INVALID_ARGUMENT, 0, "The host is empty or too long");
        return api_error(error, &e);
    }
    snprintf(w->host, sizeof w->host, "%s", host);
    r = api_job_start(a, m, w->domain, "LinkTest", &ops, w, &e);
    return r < 0 ? api_error(error, &e) : r;
}

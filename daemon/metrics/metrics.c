/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "metrics/metrics.h"
#include "loop/fdstore.h"
#include "metrics/exposition.h"
#include "metrics/process.h"
#include "metrics/server.h"
#include "metrics/totals.h"
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

struct metrics {
    struct registry *registry;
    struct metrics_server *server; /* NULL: nobody may scrape */
    struct migration **live;       /* referenced; those in doubt, too */
    size_t nlive;
    struct totals totals; /* of those that ended */
};

/* One look at everything, so that all samples tell of the same moment. */
struct picture {
    struct totals totals;
    struct migration_status *live;
    size_t nlive;
    uint64_t domains[DOMAIN_STATE_MAX], devices, memory_bytes;
};

static int take(struct picture *p, struct metrics *m)
{
    struct domain *d;
    *p = (struct picture){.totals = m->totals};
    p->live = calloc(m->nlive ? m->nlive : 1, sizeof *p->live);
    if (!p->live)
        return -ENOMEM;
    for (; p->nlive < m->nlive; p->nlive++) {
        migration_get_status(m->live[p->nlive], &p->live[p->nlive]);
        totals_add(&p->totals, &p->live[p->nlive], false);
    }
    for (size_t i = 0; (d = registry_nth(m->registry, i)); i++) {
        p->domains[d->state]++;
        p->devices += d->ndevices;
        pthread_mutex_lock(&d->lock);
        for (size_t k = 0; k < d->nmemory; k++)
            p->memory_bytes += d->memory[k].region->size_bytes;
        pthread_mutex_unlock(&d->lock);
    }
    return 0;
}

static const char *const directions[] = {"outgoing", "incoming"};

static void put_one(struct exposition *e, enum metric family, uint64_t value)
{
    exposition_family(e, family);
    exposition_sample(e, value, NULL);
}

/* ---- by family ---- */

static void put_domains(struct exposition *e, const struct picture *p)
{
    exposition_family(e, METRIC_BUILD);
    exposition_sample(e, 1, "version=\"%s\"", PACKAGE_VERSION);
    exposition_family(e, METRIC_DOMAINS);
    for (int i = 0; i < DOMAIN_STATE_MAX; i++)
        exposition_sample(e, p->domains[i], "state=\"%s\"", domain_state_to_string((enum domain_state)i));
    put_one(e, METRIC_DEVICES, p->devices);
    put_one(e, METRIC_MEMORY, p->memory_bytes);
    put_one(e, METRIC_KEPT, fdstore_count());
}

static void put_live(struct exposition *e, const struct picture *p, enum metric family, bool doubt)
{
    uint64_t n[2] = {0};
    for (size_t i = 0; i < p->nlive; i++)
        n[p->live[i].direction] += (p->live[i].state == MIG_STATE_IN_DOUBT) == doubt;
    exposition_family(e, family);
    for (int i = 0; i < 2; i++)
        exposition_sample(e, n[i], "direction=\"%s\"", directions[i]);
}

static void put_ends(struct exposition *e, const struct totals *t)
{
    exposition_family(e, METRIC_ENDED);
    for (int i = 0; i < 2; i++)
        for (int s = 0; s < MIG_STATE_MAX; s++)
            if (s != MIG_STATE_RUNNING && s != MIG_STATE_IN_DOUBT)
                exposition_sample(e, t->ended[i][s], "direction=\"%s\",outcome=\"%s\"", directions[i],
                                  mig_state_to_string((enum mig_state)s));
    exposition_family(e, METRIC_ERRORS);
    for (int i = MIG_ERR_NONE + 1; i < MIG_ERR_MAX; i++)
        exposition_sample(e, t->errors[i], "error=\"%s\"", mig_error_word((enum mig_error_code)i));
    exposition_family(e, METRIC_DURATION);
    for (int i = 0; i < 2; i++)
        exposition_histogram(e, i ? "direction=\"incoming\"" : "direction=\"outgoing\"",
                             totals_duration_bounds_usec, t->duration[i].bucket, totals_duration_bounds,
                             t->duration[i].above, t->duration[i].sum_usec);
    exposition_family(e, METRIC_DOWNTIME);
    exposition_histogram(e, "", totals_downtime_bounds_usec, t->downtime.bucket, totals_downtime_bounds,
                         t->downtime.above, t->downtime.sum_usec);
}

static void put_steps(struct exposition *e, const struct migration_counters *c)
{
    const struct {
        const char *name;
        uint64_t usec;
    } steps[] = {{"pause", c->downtime_pause_usec},
                 {"quiesce", c->downtime_quiesce_usec},
                 {"final-read", c->downtime_final_read_usec},
                 {"pages", c->downtime_pages_usec},
                 {"device-state", c->downtime_device_usec},
                 {"load", c->downtime_load_usec},
                 {"gate", c->downtime_gate_usec},
                 {"verify", c->downtime_verify_usec},
                 {"commit", c->downtime_commit_usec},
                 {"resume", c->downtime_resume_usec}};
    exposition_family(e, METRIC_STEPS);
    for (size_t i = 0; i < ELEMENTS(steps); i++)
        exposition_usec(e, steps[i].usec, "step=\"%s\"", steps[i].name);
}

static void put_both(struct exposition *e, enum metric family, const struct totals *t, size_t counter)
{
    exposition_family(e, family);
    for (int i = 0; i < 2; i++)
        exposition_sample(e, *(const uint64_t *)((const char *)&t->counters[i] + counter), "direction=\"%s\"",
                          directions[i]);
}
#define PUT_BOTH(e, family, t, field) put_both((e), (family), (t), offsetof(struct migration_counters, field))

static void put_traffic(struct exposition *e, const struct totals *t)
{
    const struct migration_counters *sent = &t->counters[MIGRATION_OUTGOING];
    put_one(e, METRIC_ROUNDS, sent->iterations);
    exposition_family(e, METRIC_PAGES);
    for (int i = 0; i < 2; i++) {
        exposition_sample(e, t->counters[i].normal_pages, "direction=\"%s\",kind=\"normal\"", directions[i]);
        exposition_sample(e, t->counters[i].zero_pages, "direction=\"%s\",kind=\"zero\"", directions[i]);
    }
    PUT_BOTH(e, METRIC_PAYLOAD, t, processed_bytes);
    PUT_BOTH(e, METRIC_WIRE, t, wire_bytes);
    put_one(e, METRIC_RESENT, sent->resent_bytes);
    exposition_family(e, METRIC_STATE);
    for (int i = 0; i < 2; i++) {
        exposition_sample(e, t->counters[i].device_bytes, "direction=\"%s\",of=\"devices\"", directions[i]);
        exposition_sample(e, t->counters[i].vmm_bytes, "direction=\"%s\",of=\"vmm\"", directions[i]);
    }
    put_one(e, METRIC_GATE, sent->gate_pages);
    put_one(e, METRIC_VERIFIED, sent->verify_pages);
    put_one(e, METRIC_BAD, sent->verify_bad_pages);
}

static void put_trackers(struct exposition *e, const struct totals *t)
{
    exposition_family(e, METRIC_HARVESTS);
    for (size_t i = 0; i < TOTALS_KINDS_MAX && t->tracker[i].kind[0]; i++)
        exposition_sample(e, t->tracker[i].harvests, "kind=\"%s\"", t->tracker[i].kind);
    exposition_family(e, METRIC_DIRTY);
    for (size_t i = 0; i < TOTALS_KINDS_MAX && t->tracker[i].kind[0]; i++)
        exposition_sample(e, t->tracker[i].pages, "kind=\"%s\"", t->tracker[i].kind);
}

/* A figure of each running outgoing migration. A domain has one of them at most, so its name is enough. */
static void put_running(struct exposition *e, const struct picture *p, enum metric family, size_t counter,
                        bool usec)
{
    uint64_t other = 0;
    size_t n = 0;
    exposition_family(e, family);
    for (size_t i = 0; i < p->nlive; i++) {
        const struct migration_status *s = &p->live[i];
        uint64_t value = *(const uint64_t *)((const char *)&s->counters + counter);
        if (s->direction != MIGRATION_OUTGOING || s->state != MIG_STATE_RUNNING)
            continue;
        if (++n > METRICS_DOMAINS_MAX)
            other += value;
        else if (usec)
            exposition_usec(e, value, "domain=\"%s\"", s->domain);
        else
            exposition_sample(e, value, "domain=\"%s\"", s->domain);
    }
    if (n > METRICS_DOMAINS_MAX && !usec) /* downtimes of several are no downtime */
        exposition_sample(e, other, "domain=\"other\"");
}
#define PUT_RUNNING(e, p, family, field, usec)                                                               \
    put_running((e), (p), (family), offsetof(struct migration_counters, field), (usec))

static void put_process(struct exposition *e)
{
    struct process_figures f;
    if (process_look(&f) < 0)
        return; /* /proc is not there: better nothing than a 0 */
    exposition_family(e, METRIC_CPU);
    exposition_usec(e, f.cpu_usec, NULL);
    exposition_family(e, METRIC_RESIDENT);
    exposition_sample(e, f.resident_bytes - f.shared_bytes, "kind=\"own\"");
    exposition_sample(e, f.shared_bytes, "kind=\"shared\"");
    put_one(e, METRIC_DESCRIPTORS, f.open_fds);
    exposition_family(e, METRIC_START);
    exposition_usec(e, f.started_usec, NULL);
}

static int expose(struct evbuffer *out, void *userdata)
{
    struct picture p;
    struct exposition e;
    int r = take(&p, userdata);
    if (r < 0)
        return r;
    exposition_begin(&e, out);
    put_domains(&e, &p);
    put_live(&e, &p, METRIC_RUNNING, false);
    put_live(&e, &p, METRIC_DOUBT, true);
    put_ends(&e, &p.totals);
    put_steps(&e, &p.totals.counters[MIGRATION_OUTGOING]);
    put_traffic(&e, &p.totals);
    put_trackers(&e, &p.totals);
    PUT_RUNNING(&e, &p, METRIC_REMAINING, remaining_bytes, false);
    PUT_RUNNING(&e, &p, METRIC_RATE, dirty_rate, false);
    PUT_RUNNING(&e, &p, METRIC_BANDWIDTH, bandwidth, false);
    PUT_RUNNING(&e, &p, METRIC_EXPECTED, expected_downtime_usec, true);
    put_process(&e);
    free(p.live);
    return exposition_end(&e);
}

/* ---- who runs ---- */

void metrics_started(struct migration *migration, void *userdata)
{
    struct metrics *m = userdata;
    struct migration **live = reallocarray(m->live, m->nlive + 1, sizeof(struct migration *));
    if (!live)
        return; /* it is counted when it ends */
    m->live = live;
    live[m->nlive++] = migration_ref(migration);
}

void metrics_ended(struct migration *migration, void *userdata)
{
    struct metrics *m = userdata;
    struct migration_status *s = malloc(sizeof *s);
    if (s) {
        migration_get_status(migration, s);
        totals_add(&m->totals, s, true);
        free(s);
    }
    for (size_t i = 0; i < m->nlive; i++)
        if (m->live[i] == migration) {
            m->live[i] = m->live[--m->nlive];
            migration_unref(migration);
            return;
        }
}

int metrics_new(struct metrics **ret, struct loop *loop, struct registry *registry, const char *address,
                int fd, struct mig_error *err)
{
    _cleanup_(metrics_freep) struct metrics *m = calloc(1, sizeof *m);
    if (!m)
        return mig_error_oom(err);
    m->registry = registry;
    int r = fd >= 0 || *address ? metrics_server_new(&m->server, loop, address, fd, expose, m, err) : 0;
    if (r < 0)
        return r;
    *ret = TAKE_PTR(m);
    return 0;
}

struct metrics *metrics_free(struct metrics *m)
{
    if (!m)
        return NULL;
    metrics_server_free(m->server);
    for (size_t i = 0; i < m->nlive; i++)
        migration_unref(m->live[i]);
    free(m->live);
    free(m);
    return NULL;
}

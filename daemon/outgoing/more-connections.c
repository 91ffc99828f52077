/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Page connections that are opened while pages are being sent, as long as each makes it faster (growth.h).
 * The worker looks while it waits for a round; the new connection takes part in it.
 */
#include "base/clock.h"
#include "base/format.h"
#include "base/log.h"
#include "base/ratelimit.h"
#include "outgoing/job.h"
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <time.h>

#define OPEN_TIMEOUT_USEC (2 * USEC_PER_SEC)

/* What waits in a socket has not arrived: a new connection takes megabytes at once, whatever the link does.
 */
static uint64_t sent_bytes(void *userdata)
{
    const struct job *j = userdata;
    uint64_t sum = 0;
    for (size_t i = 0; i < j->npage_channels; i++) {
        int waiting = 0;
        uint64_t sent = j->page_channels[i]->sent_bytes;
        (void)ioctl(j->page_channels[i]->fd, SIOCOUTQ, &waiting);
        if (waiting > 0 && (uint64_t)waiting < sent)
            sent -= (uint64_t)waiting;
        sum += sent;
    }
    return sum;
}

static uint64_t cpu_usec(void *userdata)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t cap(void *userdata)
{
    const struct job *j = userdata;
    return ratelimit_share(page_stream_limit(j->pages));
}

static void set_connections(struct migration_counters *c, void *userdata)
{
    c->connections = ((const struct job *)userdata)->npage_channels;
}

static int open_another(void *userdata)
{
    struct job *j = userdata;
    struct mig_error err = MIG_ERROR_INIT;
    const struct attachment pages = {"pages", j->attach_key, j->npage_channels, OPEN_TIMEOUT_USEC};
    struct channel *c;
    int r = job_attach(j, &pages, &c, &err);
    if (r < 0)
        return r;
    r = page_stream_add(j->pages, c);
    if (r < 0) {
        channel_free(c);
        return r;
    }
    j->page_channels[j->npage_channels++] = c;
    /* Without a watch of its own it is as good as the others: they share a network. */
    struct link_watch *watch = TAKE_PTR(j->watch);
    if (job_watch_link(j, NULL) < 0)
        j->watch = watch;
    else
        link_watch_free(watch);
    migration_update(j->migration, set_connections, j);
    return 0;
}

static unsigned processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static void look(void *userdata)
{
    struct job *j = userdata;
    unsigned before = j->growth.connections;
    if (!growth_look(&j->growth, now_usec()))
        return;
    const struct log_fields fields = {.domain = j->domain->name, .migration = migration_id(j->migration)};
    if (j->growth.done) {
        migration_set_connections_why(j->migration, j->growth.why);
        log_write(LOG_INFO, &fields, "%zu connections to %s: %s", j->npage_channels, j->destination,
                  j->growth.why);
    } else if (j->growth.connections != before) {
        log_write(LOG_DEBUG, &fields, "%zu connections to %s, since fewer carried %s", j->npage_channels,
                  j->destination, FORMAT_RATE(j->growth.before_rate));
    }
}

static void say_why(struct job *j)
{
    if (j->growth.done)
        migration_set_connections_why(j->migration, j->growth.why);
}

void job_start_growth(struct job *j)
{
    static const struct growth_ops ops = {sent_bytes, cpu_usec, cap, open_another};
    bool again = j->growth.ops != NULL;
    if (!again) {
        growth_init(&j->growth, &ops, j, (unsigned)j->npage_channels, (unsigned)j->granted, processors());
        if (j->options.connections)
            growth_end(&j->growth, "as many as were asked for");
        else if (!j->grows && j->options.max_connections > j->npage_channels)
            growth_end(&j->growth, "the destination's migd takes no more while a migration runs");
        say_why(j);
    } else if (!j->growth.done) { /* what was measured on other connections says nothing */
        j->growth.before_rate = 0;
        growth_rest(&j->growth);
    }
    const struct page_stream_looker looker = {GROWTH_INTERVAL_USEC / 2, look, j};
    if (!j->growth.done)
        page_stream_set_looker(j->pages, &looker);
}

void job_end_growth(struct job *j)
{
    if (!j->growth.done)
        growth_end(&j->growth, "pages were not sent for long enough to measure it");
    say_why(j);
}

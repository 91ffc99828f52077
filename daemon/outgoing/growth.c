/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outgoing/growth.h"
#include "base/clock.h"
#include "base/format.h"
#include "base/util.h"
#include <stdio.h>
#include <string.h>

#define GAIN_PERCENT 10u /* what one more must bring */
#define CAP_PERCENT  90u /* of a cap: it is what limits */
#define BUSY_PERCENT 90u /* of all processors: they are what limits */

void growth_init(struct growth *g, const struct growth_ops *ops, void *userdata, unsigned connections,
                 unsigned limit, unsigned processors)
{
    *g = (struct growth){.ops = ops,
                         .userdata = userdata,
                         .connections = connections,
                         .limit = limit,
                         .processors = MAX(processors, 1u)};
    if (connections >= limit)
        growth_end(g, "no more are allowed");
}

void growth_end(struct growth *g, const char *why)
{
    g->done = true;
    snprintf(g->why, sizeof g->why, "%s", why);
}

void growth_rest(struct growth *g)
{
    g->since_usec = 0;
}

static void begin_interval(struct growth *g, uint64_t now)
{
    g->since_usec = now;
    g->since_bytes = g->ops->sent_bytes(g->userdata);
    g->since_cpu_usec = g->ops->cpu_usec(g->userdata);
}

static void open_one(struct growth *g, uint64_t rate)
{
    if (g->connections >= g->limit) {
        growth_end(g, "no more are allowed");
        return;
    }
    int r = g->ops->open(g->userdata);
    if (r < 0) {
        snprintf(g->why, sizeof g->why, "one more could not be opened: %s", strerror(-r));
        g->done = true;
        return;
    }
    g->connections++;
    g->before_rate = rate;
    g->settling = true;
    g->doubtful = false;
}

bool growth_look(struct growth *g, uint64_t now)
{
    if (g->done)
        return false;
    uint64_t usec = g->since_usec ? now - g->since_usec : 0;
    if (g->since_usec && usec < GROWTH_INTERVAL_USEC)
        return false;
    if (!g->since_usec || g->settling) {
        g->settling &= !g->since_usec;
        begin_interval(g, now);
        return false;
    }
    uint64_t bytes = g->ops->sent_bytes(g->userdata);
    uint64_t rate = bytes > g->since_bytes ? (bytes - g->since_bytes) * USEC_PER_SEC / usec : 0;
    uint64_t cpu_usec = g->ops->cpu_usec(g->userdata) - g->since_cpu_usec, cap = g->ops->cap(g->userdata);
    if (g->before_rate && rate < g->before_rate / 2) {
        ; /* something else has happened to the link */
    } else if (g->before_rate && rate < g->before_rate / 100 * (100 + GAIN_PERCENT) && !g->doubtful) {
        g->doubtful = true;
    } else if (g->before_rate && rate < g->before_rate / 100 * (100 + GAIN_PERCENT)) {
        long long gain = ((long long)rate - (long long)g->before_rate) * 100 / (long long)g->before_rate;
        snprintf(g->why, sizeof g->why, "the last one changed the speed by %lld %%, from %s to %s", gain,
                 FORMAT_RATE(g->before_rate), FORMAT_RATE(rate));
        g->done = true;
    } else if (cap && rate >= cap / 100 * CAP_PERCENT) {
        snprintf(g->why, sizeof g->why, "the cap of %s is reached", FORMAT_RATE(cap));
        g->done = true;
    } else if (cpu_usec >= usec / 100 * BUSY_PERCENT * g->processors) {
        growth_end(g, "the processors of this host are busy");
    } else {
        open_one(g, rate);
    }
    begin_interval(g, now);
    return true;
}

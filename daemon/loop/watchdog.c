/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop/watchdog.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/progress.h"
#include <inttypes.h>
#include <systemd/sd-daemon.h>

struct watchdog {
    struct loop_timer *timer;
    uint64_t interval_usec;
    bool starving;
};

/* A test does not wait for minutes. */
static uint64_t silence_limit_usec(void)
{
#ifdef FAULT_POINTS
    uint64_t usec;
    const char *text = getenv("MIGD_WATCHDOG_SILENCE");
    if (text && parse_usec(text, &usec) == 0)
        return usec;
#endif
    return WATCHDOG_SILENCE_USEC;
}

static void feed(void *userdata)
{
    struct watchdog *w = userdata;
    char name[16];
    uint64_t silence_usec = progress_silence_usec(name);
    bool hangs = silence_usec > silence_limit_usec();
    if (hangs && !w->starving)
        log_write(LOG_ERR, &(struct log_fields){.message = MESSAGE_WORKER_STUCK},
                  "Worker %s has given no sign for %" PRIu64
                  " s: the watchdog is not fed any more, and the service manager will start migd anew",
                  name, (uint64_t)(silence_usec / USEC_PER_SEC));
    w->starving = hangs;
    if (!hangs)
        sd_notify(false, "WATCHDOG=1");
    loop_timer_arm(w->timer, w->interval_usec);
}

int watchdog_new(struct watchdog **ret, struct loop *l)
{
    uint64_t limit_usec;
    *ret = NULL;
    if (sd_watchdog_enabled(true, &limit_usec) <= 0 || limit_usec == 0)
        return 0;
    struct watchdog *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->interval_usec = limit_usec / 3;
    int r = loop_timer_new(&w->timer, l, feed, w);
    if (r < 0) {
        free(w);
        return r;
    }
    feed(w);
    *ret = w;
    return 0;
}

struct watchdog *watchdog_free(struct watchdog *w)
{
    if (w)
        loop_timer_free(w->timer);
    free(w);
    return NULL;
}

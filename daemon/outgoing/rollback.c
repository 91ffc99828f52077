/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source runs on: every device back to RUNNING (all to their peer-to-peer state before any runs),
 * tracking off, the VMM resumed. Also what a restarted daemon does for a migration whose record says that it
 * had not been decided.
 */
#include "outgoing/rollback.h"
#include "base/clock.h"
#include "base/log.h"
#include "dirty/tracker.h"
#include "domain/vmm-log.h"
#include <stdio.h>

#define RESUME_TIMEOUT_USEC (10 * USEC_PER_SEC)

static void complain(char *problem, size_t size, const char *text)
{
    if (!problem[0])
        snprintf(problem, size, "%s", text);
}

/* The ladder of rule R12, up to its last step. 1: it took a reset. */
static int climb(struct device *dev, enum device_state now, enum device_state to, struct mig_error *err)
{
    char steps[400];
    const struct log_fields fields = {.message = MESSAGE_DEVICE_RECOVERED, .device = dev->name};
    int reset = device_recover(dev, now, to, &now, steps, sizeof steps, err);
    if (reset < 0)
        return reset;
    log_write(LOG_WARNING, &fields, "device %s: %s", dev->name, steps);
    int r = now == to ? 0 : dev->ops->set_state(dev, to, &now, err);
    if (r < 0 && !reset) {
        reset = 1;
        r = dev->ops->reset(dev, err);
        if (r == 0)
            r = dev->ops->set_state(dev, to, &now, err);
    }
    return r < 0 ? r : reset;
}

static void go(struct domain *d, struct domain_device *dd, enum device_state to, char *problem, size_t size)
{
    struct device *dev = dd->device;
    struct mig_error err = MIG_ERROR_INIT;
    enum device_state now = DEVICE_STATE_ERROR;
    const struct log_fields fields = {.domain = d->name, .device = dev->name};
    char text[400];
    int r = dev->ops->set_state(dev, to, &now, &err);
    if (r == 0)
        return;
    log_mig_error(LOG_WARNING, &fields, &err, "Bringing a device back");
    if (err.code != MIG_ERR_DEVICE_GONE) /* there is nobody to bring it back for */
        r = climb(dev, now, to, &err);
    if (r == 0)
        return;
    if (r > 0)
        snprintf(
            text, sizeof text,
            "Device %s had to be reset to bring it back to %s: what it held is lost, and its driver in the "
            "guest may have to be loaded anew",
            dev->name, device_state_to_string(to));
    else
        snprintf(text, sizeof text, "Device %s cannot be brought back to %s: %.300s", dev->name,
                 device_state_to_string(to), err.message);
    log_write(LOG_ERR, &fields, "%s", text);
    complain(problem, size, text);
}

void source_run_devices(struct domain *d, char *problem, size_t size)
{
    bool p2p = d->ndevices > 1 && !domain_find_without_p2p(d);
    for (size_t i = 0; p2p && i < d->ndevices; i++) {
        /* A device that already runs stays so: to ask it for P2P would only stop it again. */
        enum device_state now;
        struct device *dev = d->devices[i].device;
        if (dev->ops->get_state(dev, &now, NULL) == 0 && now != DEVICE_STATE_RUNNING &&
            now != DEVICE_STATE_PRE_COPY)
            go(d, &d->devices[i], DEVICE_STATE_RUNNING_P2P, problem, size);
    }
    for (size_t i = 0; i < d->ndevices; i++)
        go(d, &d->devices[i], DEVICE_STATE_RUNNING, problem, size);
}

void source_resume_vmm(struct domain *d, char *problem, size_t size)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (d->controller->ops->resume(d->controller, deadline_in(RESUME_TIMEOUT_USEC), &err) < 0) {
        const struct log_fields fields = {.domain = d->name};
        log_mig_error(LOG_ERR, &fields, &err, "Resuming the VMM");
        char text[400];
        snprintf(text, sizeof text, "The VMM could not be resumed: %.340s", err.message);
        complain(problem, size, text);
    }
}

void source_stop_tracking(struct domain *d)
{
    for (size_t i = 0; i < d->ntrackers; i++) {
        struct tracker *t = d->trackers[i];
        /* A tracker that this daemon never started may have been left on by the daemon before it, and only a
         * started one can be stopped. */
        if (!t->started && t->ops->start(t, NULL) < 0)
            continue;
        t->ops->stop(t);
    }
    vmm_log_stop(d);
}

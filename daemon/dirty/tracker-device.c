/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device's own log of the DMA that it did, read through the device's ops. Worker thread.
 *
 * The log speaks of IOVAs, one report per mapping, in pages that the device chose; here they become pages of
 * regions. A range that is unmapped while the log is on never reaches this file: whoever unmaps takes the
 * last bits and leaves them as marks (R6).
 *
 * A report that fails may have cleared bits that nobody has seen, so then every page that the device may
 * write is dirty. If the device still lives that is all, and the migration goes on; if it is gone, or it is
 * the gate that asks, the harvest fails.
 */
#include "base/log.h"
#include "device/device.h"
#include "dirty/report.h"
#include <poll.h>

struct tracker_device {
    struct tracker base;
    struct device *device;
    uint64_t wish_bytes; /* page size to ask for */
};

struct report {
    struct dirty_sink *sink;
};

static struct tracker_device *from_base(struct tracker *t)
{
    return CONTAINER_OF(t, struct tracker_device, base);
}

static int device_log_begin(struct tracker *t, struct mig_error *err)
{
    struct tracker_device *d = from_base(t);
    if (t->started)
        return 0;
    if (!d->device->ops->info(d->device)->dirty_log) {
        mig_error_set(err, MIG_ERR_NOT_SUPPORTED, EOPNOTSUPP, "device %s has no log of its DMA",
                      d->device->name);
        mig_error_hint(err, "use tracker \"all\" for it: then all its memory is sent again in the blackout");
        return -EOPNOTSUPP;
    }
    uint64_t page_bytes = d->wish_bytes;
    int rc = d->device->ops->log_start(d->device, &page_bytes, err);
    if (rc == -ETIMEDOUT) /* it may come true later: a stop behind it undoes that (R10) */
        (void)d->device->ops->log_stop(d->device, NULL);
    if (rc < 0)
        return mig_error_wrap(err, "turning the DMA log of device %s on", d->device->name);
    if (!is_power_of_two(page_bytes) || page_bytes < REGION_PAGE_SIZE || page_bytes > REGION_SIZE_MAX) {
        (void)d->device->ops->log_stop(d->device, NULL);
        return mig_error_set(
            err, MIG_ERR_DEVICE_PROTOCOL, EPROTO,
            "device %s logs its DMA in pages of %llu bytes, which is not a power of two of 4096 or more",
            d->device->name, (unsigned long long)page_bytes);
    }
    t->granularity_bytes = page_bytes;
    t->started = true;
    return 0;
}

static bool device_is_gone(struct device *d)
{
    struct pollfd p = {.fd = d->ops->gone_fd ? d->ops->gone_fd(d) : -1, .events = POLLIN};
    return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

static void device_log_end(struct tracker *t)
{
    struct tracker_device *d = from_base(t);
    if (!t->started)
        return;
    t->started = false;
    struct mig_error e = MIG_ERROR_INIT;
    if (d->device->ops->log_stop(d->device, &e) < 0 && !device_is_gone(d->device))
        log_mig_error(LOG_WARNING, &(struct log_fields){.device = d->device->name}, &e,
                      "cannot turn the DMA log off");
}

static void on_report(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                      const uint64_t *words, uint64_t nbits)
{
    struct report *r = userdata;
    report_mapping_bits(r->sink, m, page_bytes, words, nbits);
}

/* Reading the log clears it, so a peek is the same: the caller keeps what was found. */
static int device_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct tracker_device *d = from_base(t);
    struct mig_error e = MIG_ERROR_INIT;
    struct report r = {sink};
    int rc = d->device->ops->log_report(d->device, on_report, &r, &e);
    if (rc >= 0)
        return 0;
    report_all_writable(d->device->map, sink);
    /* At the gate that would accuse the device of writes that nobody has seen: there the failure is the
     * answer. */
    if (!peek && e.code != MIG_ERR_DEVICE_GONE && !device_is_gone(d->device)) {
        log_mig_error(
            LOG_WARNING, &(struct log_fields){.message = MESSAGE_TRACKER_LOST, .device = d->device->name}, &e,
            "the DMA log cannot be read, so all memory that the device may write counts as written");
        return 0;
    }
    if (!mig_error_is_set(&e))
        mig_error_set(&e, MIG_ERR_DEVICE_GONE, -rc, "device %s is gone", d->device->name);
    mig_error_wrap(&e, "reading the DMA log of device %s", d->device->name);
    if (err)
        *err = e;
    return -e.err;
}

static void device_destroy(struct tracker *t)
{
    struct tracker_device *d = from_base(t);
    device_log_end(t);
    device_unref(d->device);
    free(d);
}

static const struct tracker_ops device_tracker_ops = {
    .kind = "device",
    .answers_gate = true,
    .start = device_log_begin,
    .stop = device_log_end,
    .harvest = device_harvest,
    .destroy = device_destroy,
};

int tracker_new_device(struct tracker **ret, const char *name, struct device *device, uint64_t page_bytes,
                       struct mig_error *err)
{
    if (!is_power_of_two(page_bytes) || page_bytes < REGION_PAGE_SIZE)
        return mig_error_set(
            err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
            "the DMA log of device %s cannot have pages of %llu bytes: use a power of two, 4096 or more",
            device->name, (unsigned long long)page_bytes);
    struct tracker_device *d = calloc(1, sizeof *d);
    if (!d)
        return mig_error_oom(err);
    int rc = tracker_init(&d->base, &device_tracker_ops, name, device->name, err);
    if (rc < 0) {
        free(d);
        return rc;
    }
    d->device = device_ref(device);
    d->wish_bytes = page_bytes;
    *ret = &d->base;
    return 0;
}

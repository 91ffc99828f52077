/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "server.h"
#include <string.h>

#define HEAD             sizeof(struct vfu_feature_header)
#define BITMAP_MAX_BYTES (1ull << 28)

/* The reply to SET and PROBE repeats the request. */
static int echo(struct message *m, struct reply *r)
{
    void *payload = reply_make(r, m->payload_bytes);
    if (!payload)
        return -ENOMEM;
    memcpy(payload, m->payload, m->payload_bytes);
    return 0;
}

static int answer(struct reply *r, uint32_t flags, const void *data, size_t data_bytes)
{
    uint8_t *payload = reply_make(r, HEAD + data_bytes);
    if (!payload)
        return -ENOMEM;
    struct vfu_feature_header h = {.argsz = (uint32_t)(HEAD + data_bytes), .flags = flags};
    memcpy(payload, &h, sizeof h);
    memcpy(payload + HEAD, data, data_bytes);
    return 0;
}

static int get_state(struct device *d, const struct vfu_feature_header *h, struct reply *r)
{
    struct vfu_mig_state state = {.state = d->migration.state, .data_fd = -1};
    if (d->misbehave.wrong_state_reply)
        state.state = state.state % (STATE_MAX - 1) + 1;
    return answer(r, h->flags, &state, sizeof state);
}

static int set_state(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_mig_state state;
    if (m->payload_bytes < HEAD + sizeof state)
        return -EINVAL;
    memcpy(&state, m->payload + HEAD, sizeof state);
    int result = migration_set_state(d, state.state);
    if (result == 0)
        result = echo(m, r);
    if (result == 0 && d->misbehave.wrong_state_reply) {
        state.state = state.state % (STATE_MAX - 1) + 1;
        memcpy(r->payload + HEAD, &state, sizeof state);
    }
    return result;
}

static int log_start(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_log_control control;
    if (m->payload_bytes < HEAD + sizeof control)
        return -EINVAL;
    memcpy(&control, m->payload + HEAD, sizeof control);
    size_t room = (m->payload_bytes - HEAD - sizeof control) / sizeof(struct vfu_log_range);
    if (control.num_ranges > room)
        return -EINVAL;
    const struct vfu_log_range *ranges = (const struct vfu_log_range *)(m->payload + HEAD + sizeof control);
    engine_park(&d->engine);
    int result =
        dirty_start(&d->log, &d->dma, &control, ranges, d->options->log_page_size, &control.page_size);
    engine_release(&d->engine);
    if (result == 0)
        result = echo(m, r);
    if (result == 0)
        memcpy(r->payload + HEAD, &control, sizeof control);
    log_debug("logging on: %s, pages of %llu bytes", result < 0 ? strerror(-result) : "done",
              (unsigned long long)control.page_size);
    return result;
}

static int log_stop(struct device *d, struct message *m, struct reply *r)
{
    engine_park(&d->engine);
    dirty_stop(&d->log, &d->dma);
    engine_release(&d->engine);
    log_debug("logging off");
    return echo(m, r);
}

static int log_report(struct device *d, struct message *m, struct reply *r,
                      const struct vfu_feature_header *h)
{
    struct vfu_log_report report;
    if (m->payload_bytes < HEAD + sizeof report)
        return -EINVAL;
    memcpy(&report, m->payload + HEAD, sizeof report);
    int result = dirty_check(&d->log, &d->dma, report.iova, report.length, report.page_size);
    if (result < 0)
        return result;
    uint64_t bitmap_bytes = vfu_bitmap_bytes(report.length, report.page_size);
    if (bitmap_bytes > BITMAP_MAX_BYTES || h->argsz < HEAD + sizeof report + bitmap_bytes)
        return -EINVAL;
    enum lie lie = d->misbehave.lie[POINT_REPORT];
    uint8_t *payload =
        reply_make(r, HEAD + sizeof report + bitmap_bytes + (lie == LIE_LONG ? bitmap_bytes + 64 : 0));
    if (!payload)
        return -ENOMEM;
    struct vfu_feature_header head = {.argsz = (uint32_t)(HEAD + sizeof report + bitmap_bytes),
                                      .flags = h->flags};
    memcpy(payload, &head, sizeof head);
    memcpy(payload + HEAD, &report, sizeof report);
    uint64_t *bitmap = (uint64_t *)(payload + HEAD + sizeof report);
    result = dirty_report(&d->log, &d->dma, report.iova, report.length, report.page_size, bitmap);
    if (lie == LIE_SHORT)
        r->payload_bytes -= bitmap_bytes / 2;
    return result;
}

static bool has_feature(const struct device *d, uint32_t feature)
{
    switch (feature) {
    case VFU_FEATURE_MIGRATION:
    case VFU_FEATURE_MIG_DEVICE_STATE:
        return d->options->migration_flags != 0;
    case VFU_FEATURE_DMA_LOGGING_START:
    case VFU_FEATURE_DMA_LOGGING_STOP:
    case VFU_FEATURE_DMA_LOGGING_REPORT:
        return !d->options->no_log;
    default:
        return false;
    }
}

/* Which of GET and SET a feature has. */
static uint32_t directions(uint32_t feature)
{
    switch (feature) {
    case VFU_FEATURE_MIGRATION:
    case VFU_FEATURE_DMA_LOGGING_REPORT:
        return VFU_FEATURE_GET;
    case VFU_FEATURE_MIG_DEVICE_STATE:
        return VFU_FEATURE_GET | VFU_FEATURE_SET;
    default:
        return VFU_FEATURE_SET;
    }
}

int handle_feature(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_feature_header h;
    memcpy(&h, m->payload, sizeof h);
    uint32_t feature = h.flags & VFU_FEATURE_MASK, wanted = h.flags & (VFU_FEATURE_GET | VFU_FEATURE_SET);
    if (h.argsz < sizeof h || !has_feature(d, feature) || (wanted & ~directions(feature)))
        return -EINVAL;
    if (h.flags & VFU_FEATURE_PROBE)
        return echo(m, r);
    if (wanted != VFU_FEATURE_GET && wanted != VFU_FEATURE_SET)
        return -EINVAL;
    if ((wanted == VFU_FEATURE_SET && h.argsz < m->payload_bytes) ||
        (feature <= VFU_FEATURE_MIG_DEVICE_STATE && h.argsz < HEAD + sizeof(uint64_t)))
        return -EINVAL;
    switch (feature) {
    case VFU_FEATURE_MIGRATION:
        return answer(r, h.flags, &d->options->migration_flags, sizeof d->options->migration_flags);
    case VFU_FEATURE_MIG_DEVICE_STATE:
        return wanted == VFU_FEATURE_GET ? get_state(d, &h, r) : set_state(d, m, r);
    case VFU_FEATURE_DMA_LOGGING_START:
        return log_start(d, m, r);
    case VFU_FEATURE_DMA_LOGGING_STOP:
        return log_stop(d, m, r);
    default:
        return log_report(d, m, r, &h);
    }
}

int handle_data_read(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_mig_data request;
    memcpy(&request, m->payload, sizeof request);
    if (request.argsz < sizeof request || request.argsz - sizeof request < request.size ||
        request.size > d->conn->max_transfer_bytes)
        return -EINVAL;
    enum lie lie = d->misbehave.lie[POINT_DATA_READ];
    /* As libvfio-user does: always as long as was asked for, padded; only the size field is true. */
    uint8_t *payload = reply_make(r, sizeof request + request.size + (lie == LIE_LONG ? 64 : 0));
    if (!payload)
        return -ENOMEM;
    size_t size;
    int result = migration_read(d, payload + sizeof request, request.size, &size);
    struct vfu_mig_data head = {.argsz = (uint32_t)(sizeof head + size), .size = (uint32_t)size};
    if (lie == LIE_LONG)
        head.size = request.size + 64;
    memcpy(payload, &head, sizeof head);
    if (lie == LIE_SHORT)
        r->payload_bytes = sizeof head + size / 2;
    return result;
}

int handle_data_write(struct device *d, struct message *m, struct reply *r)
{
    struct vfu_mig_data request;
    memcpy(&request, m->payload, sizeof request);
    if (request.argsz < sizeof request || request.argsz - sizeof request < request.size ||
        m->payload_bytes - sizeof request < request.size || request.size > d->conn->max_transfer_bytes)
        return -EINVAL;
    return migration_write(d, m->payload + sizeof request, request.size);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The device as a whole, and the loop that takes one command after the other, in order. */
#include "server.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include <poll.h>
#include <string.h>

#define DIE_EXIT_CODE      70
#define HUGE_MESSAGE_BYTES 0x7fffffffu

#define BIT(state) (1u << (state))
/* As libvfio-user: a device that is stopped has nothing to say about itself and takes no new memory. */
#define STATES_ALL     0xffu
#define STATES_AWAKE   (STATES_ALL & ~(BIT(STATE_STOP) | BIT(STATE_STOP_COPY)))
#define STATES_REGIONS (STATES_ALL & ~BIT(STATE_STOP_COPY))
#define STATES_READ    (BIT(STATE_PRE_COPY) | BIT(STATE_PRE_COPY_P2P) | BIT(STATE_STOP_COPY))

static const struct command {
    uint32_t states;
    size_t payload_min_bytes;
    handler *handle;
} commands[] = {
    [VFU_DMA_MAP] = {STATES_AWAKE, sizeof(struct vfu_dma_map), handle_dma_map},
    [VFU_DMA_UNMAP] = {STATES_AWAKE, sizeof(struct vfu_dma_unmap), handle_dma_unmap},
    [VFU_DEVICE_GET_INFO] = {STATES_AWAKE, sizeof(struct vfu_device_info), handle_get_info},
    [VFU_DEVICE_GET_REGION_INFO] = {STATES_AWAKE, sizeof(struct vfu_region_info), handle_region_info},
    [VFU_DEVICE_GET_IRQ_INFO] = {STATES_AWAKE, sizeof(struct vfu_irq_info), handle_irq_info},
    [VFU_DEVICE_SET_IRQS] = {STATES_AWAKE, sizeof(struct vfu_irq_set), handle_set_irqs},
    [VFU_REGION_READ] = {STATES_REGIONS, sizeof(struct vfu_region_rw), handle_region_read},
    [VFU_REGION_WRITE] = {STATES_REGIONS, sizeof(struct vfu_region_rw), handle_region_write},
    [VFU_DEVICE_RESET] = {STATES_AWAKE, 0, handle_reset},
    [VFU_DEVICE_FEATURE] = {STATES_ALL, sizeof(struct vfu_feature_header), handle_feature},
    [VFU_MIG_DATA_READ] = {STATES_READ, sizeof(struct vfu_mig_data), handle_data_read},
    [VFU_MIG_DATA_WRITE] = {BIT(STATE_RESUMING), sizeof(struct vfu_mig_data), handle_data_write},
};

static enum point feature_point(const struct message *m)
{
    struct vfu_feature_header h;
    if (m->payload_bytes < sizeof h)
        return POINT_FEATURE;
    memcpy(&h, m->payload, sizeof h);
    if (h.flags & VFU_FEATURE_PROBE)
        return POINT_FEATURE;
    switch (h.flags & VFU_FEATURE_MASK) {
    case VFU_FEATURE_MIG_DEVICE_STATE:
        return h.flags & VFU_FEATURE_SET ? POINT_SET_STATE : POINT_GET_STATE;
    case VFU_FEATURE_DMA_LOGGING_START:
        return POINT_LOG_START;
    case VFU_FEATURE_DMA_LOGGING_STOP:
        return POINT_LOG_STOP;
    case VFU_FEATURE_DMA_LOGGING_REPORT:
        return POINT_REPORT;
    default:
        return POINT_FEATURE;
    }
}

enum point point_of(const struct message *m)
{
    static const enum point points[] = {
        [VFU_VERSION] = POINT_VERSION,
        [VFU_DMA_MAP] = POINT_DMA_MAP,
        [VFU_DMA_UNMAP] = POINT_DMA_UNMAP,
        [VFU_DEVICE_GET_INFO] = POINT_GET_INFO,
        [VFU_DEVICE_GET_REGION_INFO] = POINT_REGION_INFO,
        [VFU_DEVICE_GET_IRQ_INFO] = POINT_IRQ_INFO,
        [VFU_DEVICE_SET_IRQS] = POINT_SET_IRQS,
        [VFU_REGION_READ] = POINT_REGION_READ,
        [VFU_REGION_WRITE] = POINT_REGION_WRITE,
        [VFU_DEVICE_RESET] = POINT_RESET,
        [VFU_MIG_DATA_READ] = POINT_DATA_READ,
        [VFU_MIG_DATA_WRITE] = POINT_DATA_WRITE,
    };
    if (m->header.command == VFU_DEVICE_FEATURE)
        return feature_point(m);
    return m->header.command < ELEMENTS(points) ? points[m->header.command] : POINT_NONE;
}

/* What was asked for with stall= and die=, before the command is looked at. */
static int misbehave_before(struct device *d, enum point point, int stop_fd)
{
    misbehave_saw(&d->misbehave, point);
    if (misbehave_dies(&d->misbehave, point)) {
        log_notice("dying in %s, as told", point_name(point));
        _exit(DIE_EXIT_CODE);
    }
    uint64_t usec = misbehave_stall_usec(&d->misbehave, point);
    if (usec) {
        log_notice("stalling in %s, as told", point_name(point));
        int r = fd_wait(stop_fd, POLLIN, -1, deadline_in(usec));
        if (r > 0)
            return -ECANCELED;
    }
    return 0;
}

static int reply_to(struct device *d, struct message *m, enum point point, int result, struct reply *r)
{
    log_debug("%s %u: %s", point_name(point), m->header.command, result < 0 ? strerror(-result) : "done");
    if ((m->header.flags & VFU_FLAG_NO_REPLY) || misbehave_swallows_reply(&d->misbehave, point))
        return 0;
    if (d->misbehave.lie[point] == LIE_HUGE)
        r->header_bytes = HUGE_MESSAGE_BYTES;
    return conn_reply(d->conn, &m->header, result < 0 ? -result : 0, r);
}

static int dispatch(struct device *d, struct message *m)
{
    const struct command *c = m->header.command < ELEMENTS(commands) ? &commands[m->header.command] : NULL;
    enum point point = point_of(m);
    int result = misbehave_before(d, point, d->conn->stop_fd);
    if (result < 0)
        return result;
    struct reply r = {};
    if (!c || !c->handle || m->payload_bytes < c->payload_min_bytes || !(c->states & BIT(d->migration.state)))
        result = -EINVAL;
    else
        result = c->handle(d, m, &r);
    result = reply_to(d, m, point, result, &r);
    free(r.message);
    return result;
}

static int handshake(struct device *d)
{
    _cleanup_(message_freep) struct message *m = NULL;
    int twin = -1, client_end = -1;
    int r = conn_receive(d->conn, &m);
    if (r < 0)
        return r;
    r = misbehave_before(d, POINT_VERSION, d->conn->stop_fd);
    if (r < 0)
        return r;
    struct reply reply = {};
    int result = handle_version(d, m, &reply, &twin, &client_end);
    /* The engine is parked: the connection is not in use yet. */
    d->conn->twin_fd = twin;
    r = reply_to(d, m, POINT_VERSION, result, &reply);
    free(reply.message);
    close_fd(&client_end);
    return result < 0 ? -EPROTO : r;
}

/* The client has gone: its memory and its eventfds are let go of, migration and log stay as they are. */
static void forget_client(struct device *d)
{
    conn_break(d->conn);
    engine_park(&d->engine);
    dma_clear(&d->dma);
    irqs_clear(&d->irqs);
    d->conn = conn_free(d->conn);
    d->engine.area_changed = true;
    engine_release(&d->engine);
}

int device_serve(struct device *d, int fd, int stop_fd)
{
    engine_park(&d->engine);
    int r = conn_new(&d->conn, fd, stop_fd, &d->misbehave);
    if (r < 0) {
        close_fd(&fd);
        engine_release(&d->engine);
        return r;
    }
    r = handshake(d);
    engine_release(&d->engine);
    while (r == 0) {
        _cleanup_(message_freep) struct message *m = NULL;
        r = conn_receive(d->conn, &m);
        if (r == 0)
            r = dispatch(d, m);
    }
    log_info("the client has gone: %s", r == -EPIPE ? "closed" : strerror(-r));
    forget_client(d);
    return r == -ECANCELED ? r : 0;
}

int device_start(struct device *d, const struct options *o, struct mig_error *err)
{
    *d = (struct device){.options = o, .misbehave = o->misbehave};
    d->pci.bar2_fd = -1;
    d->log.late_every = o->misbehave.late_dirty_every;
    d->log.lose_every = o->misbehave.lose_bit_every;
    irqs_init(&d->irqs);
    migration_init(&d->migration);
    int r = pci_init(&d->pci, o->id, o->pci_device, err);
    if (r == 0 && o->journal_path)
        r = journal_create(&d->journal, o->journal_path, o->id, err);
    if (r == 0) {
        r = engine_start(&d->engine, d);
        if (r < 0)
            mig_error_set(err, MIG_ERR_FAILED, -r, "cannot start the engine: %s", strerror(-r));
    }
    if (r == 0)
        migration_apply_mode(d);
    return r;
}

void device_stop(struct device *d)
{
    engine_stop(&d->engine);
    dirty_stop(&d->log, &d->dma);
    dma_clear(&d->dma);
    irqs_clear(&d->irqs);
    migration_free(&d->migration);
    pci_free(&d->pci);
    journal_close(&d->journal);
}

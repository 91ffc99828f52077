/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device state on its own connection, beside the pages (R11): a thread that reads what devices hand out and
 * sends it as STATE frames. In PRE_COPY it drains what is there; at the end it reads every device to the end
 * of its stream, adds the VMM's own state, and sends STATE_END with length and digest of each.
 */
#pragma once
#include "base/error.h"
#include "device/device.h"
#include "transport/frame.h"
#include "vmm/controller.h"

struct state_stream;
struct ratelimit;

struct state_source {
    struct device *device; /* borrowed */
    bool precopy;          /* is in PRE_COPY while rounds run */
};

/* vmm: borrowed; NULL when it has no state of its own. */
int state_stream_new(struct state_stream **ret, struct channel *channel, bool checksum,
                     const struct state_source *sources, size_t nsources, struct controller *vmm,
                     int cancel_fd, struct mig_error *err);
struct state_stream *state_stream_free(struct state_stream *s);
DEFINE_CLEANUP(struct state_stream *, state_stream_free)

/* Before the first work: the destination says what it has taken, and what it has not is kept here, so that
 * the stream can go on over another connection. */
void state_stream_keep(struct state_stream *s);
/* After a break, between works: goes on over this one, attached as the first was. taken: per device, what the
 * destination has of its stream; the rest of what was sent goes first. -EPROTO with err when the destination
 * has more than was sent, or less than is still kept. */
int state_stream_resume(struct state_stream *s, struct channel *channel, const uint64_t *taken,
                        struct mig_error *err);

/* Between works: what is sent from now on is charged there and never waits, so that pages yield to it.
 * Borrowed until the next such call or the end; NULL, as at first: nobody counts it. */
void state_stream_set_limit(struct state_stream *s, struct ratelimit *limit);

/* Begins to drain PRE_COPY data of all devices; state_stream_wait returns when nothing is there at the
 * moment. *ret_bytes of wait: sent since the start. */
void state_stream_drain(struct state_stream *s);
/* Begins the rest: all devices are in STOP_COPY, the VMM is paused. The VMM saves its own state meanwhile. */
void state_stream_finish(struct state_stream *s);
int state_stream_wait(struct state_stream *s, struct mig_error *err);
/* After a drain: initial data that devices say they still have (0 where they cannot be asked), and whether
 * one of them said that more of it appeared since the drain before. */
uint64_t state_stream_initial_bytes(const struct state_stream *s, bool *ret_renewed);
/* Any thread. */
uint64_t state_stream_device_bytes(const struct state_stream *s);
uint64_t state_stream_vmm_bytes(const struct state_stream *s);

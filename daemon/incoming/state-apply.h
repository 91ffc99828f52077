/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Device state as it comes: STATE frames of the state connection are written to the devices in RESUMING, the
 * VMM's own state into a memfd. Each stream's length and digest are checked before any device is told to take
 * it over: a device may accept a corrupt stream (the kernel's sample driver does). One that was given
 * something and is not to have it is reset, and never asked what it thinks of it.
 */
#pragma once
#include "device/device.h"
#include "migration/migration.h"
#include "transport/frame.h"

struct state_apply;
int state_apply_new(struct state_apply **ret, struct device *const *devices, size_t ndevices, bool vmm_state,
                    struct mig_error *err);
struct state_apply *state_apply_free(struct state_apply *a);
DEFINE_CLEANUP(struct state_apply *, state_apply_free)
/* Before it runs: says to the source now and then what it has taken. */
void state_apply_acknowledge(struct state_apply *a);
/* While its thread does not run: bytes that the device, or what keeps the VMM's state, was given. */
uint64_t state_apply_taken(const struct state_apply *a, size_t device);
/* The state connection's thread; again over another connection, where the stream goes on: until every stream
 * has ended (0) or the peer closed before (-EPIPE with err). */
int state_apply_run(struct state_apply *a, struct frame_stream *stream, struct mig_error *err);
/* Borrowed memfd; -1 when there is no VMM state. */
int state_apply_vmm_fd(const struct state_apply *a);
/* Once its thread has ended: the device was given some of its state. */
bool state_apply_has_touched(const struct state_apply *a, const struct device *d);
uint64_t state_apply_device_bytes(const struct state_apply *a);
uint64_t state_apply_vmm_bytes(const struct state_apply *a);

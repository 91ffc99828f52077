/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pass-through server: a vfio-user socket of migd's own, behind which stands a device whose connection
 * migd has. A VMM that knows nothing of migration uses the device through it, and migd learns the DMA
 * mappings as they come and go.
 *
 * Theory of operation. One client at a time; a second waits in the backlog until the first has left. Two
 * threads:
 *
 *   reader     accepts, reads the client's sockets, puts commands into a bounded queue, hands replies to DMA
 * messages over executor   takes commands one by one, asks the device, answers; tidies up after a client that
 * left
 *
 * While the device stands still for a migration, the executor holds the command that needs a running device,
 * the queue fills, and the reader stops reading: the client waits, and goes on when the device runs again.
 * The migration commands of the client are refused the way a device without migration refuses them.
 *
 * DMA by message of the device into memory that the client mapped without a descriptor is forwarded to the
 * client, on its twin socket when it asked for one.
 */
#pragma once
#include "vfio-user/device-private.h"

/* No thread yet, so that the device's dma can refer to it. */
int vfu_passthrough_new(struct vfu_passthrough **ret, struct vfu_device *vd,
                        const struct vfu_device_options *options, struct mig_error *err);
/* Binds the socket and starts the threads. The device is connected. */
int vfu_passthrough_start(struct vfu_passthrough *p, struct mig_error *err);
/* Ends the threads; what the device's threads still ask is refused. Commands under way must have been ended
 * (vfu_conn_shutdown). */
void vfu_passthrough_stop(struct vfu_passthrough *p);
struct vfu_passthrough *vfu_passthrough_free(struct vfu_passthrough *p);

void vfu_passthrough_status(struct vfu_passthrough *p, struct vfu_device_status *ret);
extern const struct vfu_foreign_ops vfu_passthrough_foreign;

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stock QEMU as the VMM: paused and resumed over QMP, its CPU and device state saved and loaded by its own
 * migration with x-ignore-shared, which leaves shared RAM out: that is migd's part. Needs no help of QEMU's
 * and no library of libvirt's; each op opens the monitor and closes it again.
 */
#pragma once
#include "vmm/controller.h"

/* path: of a QMP socket that nobody else uses. timeout: of each op. */
int controller_new_qmp(struct controller **ret, const char *path, uint64_t timeout_usec,
                       struct mig_error *err);

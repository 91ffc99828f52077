/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stock QEMU that libvirt migrates while migd moves its RAM: QEMU's own stream, without shared RAM, goes
 * from libvirt to libvirt, and takes the CPUs, the devices of QEMU and the devices passed through with it.
 *
 * At the source it is paused and resumed behind libvirt's back, over a monitor of its own. At the destination
 * its QEMU waits for a migration, and libvirt for its hook. Resuming it there lets the hook go and waits
 * until the guest runs; libvirt decides whether it does. When it does not, its QEMU is gone, or is told to
 * quit: after a failure it is certain that nothing runs there.
 */
#pragma once
#include "vmm/controller.h"

/* path: of a QMP socket that nobody else uses. timeout: of each command. barrier: lets libvirt's hook go,
 * from a worker; domain is the name given here. NULL: nobody waits in it any more, since migd was restarted.
 */
int controller_new_libvirt(struct controller **ret, const char *domain, const char *path,
                           uint64_t timeout_usec, void (*barrier)(const char *domain, void *userdata),
                           void *userdata, struct mig_error *err);

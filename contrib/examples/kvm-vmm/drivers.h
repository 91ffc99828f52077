/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this VMM does with its devices, on a thread of its own: edu (QEMU's educational device) fetches a page
 * that the VMM filled and DMAs it into the window; mtty (the kernel's sample) gets the number of that page
 * into a register. Functions are called on the main thread. What always holds: after drivers_pause() no DMA
 * is under way and nothing touches a device or guest memory, until drivers_resume().
 *
 * edu has no migration states, so nobody can stop it but whoever drives it: that is what the pause is for.
 */
#pragma once
#include "../common/cpu-log.h"
#include "device.h"
#include <pthread.h>

struct drivers {
    struct device *devices;
    unsigned ndevices;
    struct guest_memory *memory;
    struct cpu_log *log;
    _Atomic uint64_t count; /* transfers done */
    _Atomic bool failed;    /* a device does not answer, and it was said which */

    pthread_t thread;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t go, stood;
    bool started, wanted, standing, quit;
};

void drivers_init(struct drivers *d);
int drivers_resume(struct drivers *d);
void drivers_pause(struct drivers *d);
/* Devices and DMA pages hold what `count` transfers have left in them; the devices run. Says what is wrong.
 */
bool drivers_check(struct drivers *d);
void drivers_close(struct drivers *d);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machine as a whole, and what it does when migd asks: pause, save, load, resume. Main thread.
 */
#pragma once
#include "../common/vmm-interface.h"
#include "dirty-log.h"
#include "drivers.h"
#include "vcpu.h"

#define VMM_PATH "/org/migd/Example"

struct vmm {
    struct guest_memory memory;
    struct vm vm;
    struct cpu_log log;
    struct dirty_log dirty;
    struct vcpu vcpu;
    struct dma_space space;
    struct device devices[DEVICES_MAX];
    unsigned ndevices;
    struct drivers drivers;
    struct vmm_interface interface;
    bool running;
    bool arrived; /* a state was loaded, and what came with it is not checked yet */
};

int vmm_resume(struct vmm *v, const char **ret_why);
/* 0 or -errno: the last dirty bits could not be had. */
int vmm_pause(struct vmm *v, const char **ret_why);
/* While paused: memory, counters and devices agree. Says what does not. */
bool vmm_check(struct vmm *v);
int vmm_export(struct vmm *v, bool incoming, sd_bus *bus);

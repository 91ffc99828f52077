/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm.h"
#include "../common/say.h"
#include "cpu-state.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define STATE_MAGIC 0x3165746174736d76ull

/* What SaveState writes. Memory and device state are not in it: migd moves those. */
struct vmm_state {
    uint64_t magic, bytes, memory_bytes;
    uint64_t records, transfers;
    struct cpu_state cpu;
};

/* In this order. The log is read for the last time when nothing is left that could write; after the answer
 * migd reads the cpu-log for the last time. */
int vmm_pause(struct vmm *v, const char **ret_why)
{
    vcpu_pause(&v->vcpu);
    drivers_pause(&v->drivers);
    v->running = false;
    int r = dirty_log_pull(&v->dirty);
    if (r < 0)
        *ret_why = "KVM's dirty log could not be read: which pages the guest wrote last is not known.";
    else if (v->vcpu.failed || v->drivers.failed) {
        *ret_why = "The guest has failed.";
        r = -EIO;
    }
    return r;
}

/* The vCPU is stopped at any of its instructions: with a record half written, or written and not yet told.
 * What becomes of that one the guest sees by itself, when it comes to its page again. */
bool vmm_check(struct vmm *v)
{
    uint64_t counter = guest_memory_counter(&v->memory);
    uint64_t bad = pattern_check(&v->memory.cpu_pages, v->vcpu.records, true);
    bool devices = drivers_check(&v->drivers);
    if (counter != v->vcpu.records && counter != v->vcpu.records + 1) {
        say("bad", "the guest's counter is %" PRIu64 ", the VMM's %" PRIu64, counter, v->vcpu.records);
        bad++;
    }
    if (bad || !devices)
        return false;
    say("checked", "records=%" PRIu64 " transfers=%" PRIu64 " pages=%" PRIu64, v->vcpu.records,
        v->drivers.count, v->memory.cpu_pages.pages + v->memory.dma_pages.pages);
    return true;
}

/* migd has set the devices to running before: their registers can be looked at. */
int vmm_resume(struct vmm *v, const char **ret_why)
{
    if (v->arrived && !vmm_check(v)) {
        *ret_why = "What arrived is not what was sent; this VMM's own output says more.";
        return -EIO;
    }
    v->arrived = false;
    int r = vcpu_resume(&v->vcpu);
    if (r == 0 && (r = drivers_resume(&v->drivers)) < 0)
        vcpu_pause(&v->vcpu);
    v->running = r == 0;
    return r;
}

static int save(struct vmm *v, int fd, const char **ret_why)
{
    struct vmm_state s = {.magic = STATE_MAGIC,
                          .bytes = sizeof s,
                          .memory_bytes = v->memory.size,
                          .records = v->vcpu.records,
                          .transfers = v->drivers.count};
    int r = cpu_state_save(&v->vcpu, &s.cpu, ret_why);
    if (r < 0)
        return r;
    ssize_t n = pwrite(fd, &s, sizeof s, 0);
    return n == (ssize_t)sizeof s ? 0 : n < 0 ? -errno : -EIO;
}

/* A no here costs nothing: the source has not decided yet, and goes on. */
static int load(struct vmm *v, int fd, const char **ret_why)
{
    struct vmm_state s;
    if (pread(fd, &s, sizeof s, 0) != (ssize_t)sizeof s || s.magic != STATE_MAGIC || s.bytes != sizeof s ||
        s.memory_bytes != v->memory.size) {
        *ret_why = "This is not a state of this program with as much memory.";
        return -EINVAL;
    }
    int r = cpu_state_load(&v->vcpu, &s.cpu, ret_why);
    if (r < 0)
        return r;
    v->vcpu.records = s.records;
    v->drivers.count = s.transfers;
    v->arrived = true;
    return 0;
}

/* ---- the callbacks of the Vmm interface ---- */

static int on_pause(void *userdata, const char **ret_why)
{
    return vmm_pause(userdata, ret_why);
}

static int on_resume(void *userdata, const char **ret_why)
{
    return vmm_resume(userdata, ret_why);
}

static int on_start_log(void *userdata, const char **ret_why)
{
    struct vmm *v = userdata;
    return dirty_log_start(&v->dirty);
}

static int on_stop_log(void *userdata, const char **ret_why)
{
    struct vmm *v = userdata;
    return dirty_log_stop(&v->dirty);
}

static int on_save(void *userdata, int fd, const char **ret_why)
{
    return save(userdata, fd, ret_why);
}

static int on_load(void *userdata, int fd, const char **ret_why)
{
    return load(userdata, fd, ret_why);
}

static bool is_running(void *userdata)
{
    return ((struct vmm *)userdata)->running;
}

static uint64_t count_writes(void *userdata)
{
    return ((struct vmm *)userdata)->vcpu.records;
}

int vmm_export(struct vmm *v, bool incoming, sd_bus *bus)
{
    static const struct vmm_callbacks callbacks = {.pause = on_pause,
                                                   .resume = on_resume,
                                                   .start_log = on_start_log,
                                                   .stop_log = on_stop_log,
                                                   .save = on_save,
                                                   .load = on_load,
                                                   .running = is_running,
                                                   .writes = count_writes};
    v->interface = (struct vmm_interface){.callbacks = &callbacks, .userdata = v, .incoming = incoming};
    return vmm_interface_export(&v->interface, bus, VMM_PATH);
}

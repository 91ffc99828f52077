/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm.h"
#include <errno.h>
#include <unistd.h>

static int on_pause(void *userdata, const char **ret_why)
{
    cpus_pause(userdata);
    return 0;
}

static int on_resume(void *userdata, const char **ret_why)
{
    return cpus_resume(userdata);
}

static int on_save(void *userdata, int fd, const char **ret_why)
{
    struct cpus_state s;
    cpus_save(userdata, &s);
    ssize_t n = pwrite(fd, &s, sizeof s, 0);
    return n == (ssize_t)sizeof s ? 0 : n < 0 ? -errno : -EIO;
}

static int on_load(void *userdata, int fd, const char **ret_why)
{
    struct cpus_state s;
    if (pread(fd, &s, sizeof s, 0) == (ssize_t)sizeof s && cpus_load(userdata, &s) == 0)
        return 0;
    *ret_why = "This is not a state of this program with as many threads and as much memory.";
    return -EINVAL;
}

static bool is_running(void *userdata)
{
    return cpus_running(userdata);
}

static uint64_t count_writes(void *userdata)
{
    return cpus_writes(userdata);
}

int vmm_export(struct vmm_interface *vmm, struct cpus *cpus, bool incoming, sd_bus *bus)
{
    static const struct vmm_callbacks callbacks = {.pause = on_pause,
                                                   .resume = on_resume,
                                                   .save = on_save,
                                                   .load = on_load,
                                                   .running = is_running,
                                                   .writes = count_writes};
    *vmm = (struct vmm_interface){.callbacks = &callbacks, .userdata = cpus, .incoming = incoming};
    return vmm_interface_export(vmm, bus, VMM_PATH);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * org.migd.Migd1.Vmm: the methods by which migd asks a VMM. Both examples export it through this file,
 * so the order that migd may rely on is kept here: state is saved and loaded only while nothing runs, an
 * incoming side does not run before it has loaded, and Pause and Resume may come twice.
 *
 * All callbacks run on the main thread, while the method call waits for its answer.
 */
#pragma once
#include <stdbool.h>
#include <systemd/sd-bus.h>

struct vmm_callbacks {
    /* Back when no vCPU runs, no thread of the VMM writes guest memory, and every write is in the log. */
    int (*pause)(void *userdata, const char **ret_why);
    int (*resume)(void *userdata, const char **ret_why);
    /* The log of CPU writes; NULL where it costs nothing and is always on. After start every write is logged.
     */
    int (*start_log)(void *userdata, const char **ret_why);
    int (*stop_log)(void *userdata, const char **ret_why);
    /* Into and from a memfd, at offset 0. fd is borrowed. */
    int (*save)(void *userdata, int fd, const char **ret_why);
    int (*load)(void *userdata, int fd, const char **ret_why);
    bool (*running)(void *userdata);
    uint64_t (*writes)(void *userdata); /* for the property Writes */
};

struct vmm_interface {
    const struct vmm_callbacks *callbacks;
    void *userdata;
    bool incoming; /* must not run before a state was loaded */
    bool loaded;
};

/* At path, and beside it org.migd.Example with the properties Running and Writes, by which a test sees that
 * exactly one side runs. */
int vmm_interface_export(struct vmm_interface *vmm, sd_bus *bus, const char *path);

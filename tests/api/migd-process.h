/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The real migd on a private bus, with a runtime directory of its own. Ends with the test program, whatever
 * happens to it. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

struct migd_process {
    char runtime_dir[96];
    const char *listen; /* NULL: nowhere */
    pid_t pid;
};

/* Starts it and waits until it has its name on the bus. runtime_dir must be set. */
int migd_start(struct migd_process *p, const char *bus_address, sd_bus *bus);
/* Sends the signal and waits; returns the exit status as of waitpid. */
int migd_stop(struct migd_process *p, int signal_number);
/* Of /proc/PID: open descriptors, a number from status ("VmRSS", "voluntary_ctxt_switches", "Threads"). */
unsigned process_fds(pid_t pid);
/* How often its threads went to sleep, all together: unchanged while nothing wakes it. */
unsigned long process_sleeps(pid_t pid);
unsigned long process_status(pid_t pid, const char *key);

/* Another program of the build, with arguments up to NULL. */
pid_t program_start(const char *const *argv);
void program_stop(pid_t *pid);

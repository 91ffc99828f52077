/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this process costs, from /proc/self. */
#pragma once
#include <stdint.h>

struct process_figures {
    uint64_t cpu_usec, resident_bytes, shared_bytes, open_fds, started_usec;
};
/* -errno when /proc cannot be read. */
int process_look(struct process_figures *ret);

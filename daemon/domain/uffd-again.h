/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A workload's userfaultfd after a restart of migd: the workload still has it. */
#pragma once
#include "base/error.h"
#include <sys/types.h>

/* When the process began, in clock ticks since boot: with the pid it names one process for ever. 0 when there
 * is none. */
uint64_t process_start_time(pid_t pid);
/* For one that was kept, or needs none: whether the process is still the one that it belongs to. */
int uffd_check_owner(pid_t pid, uint64_t start_time, const char *tracker, struct mig_error *err);
/* The one userfaultfd that the process has; fails when it is another process by now, or has none or several.
 */
int uffd_take_again(pid_t pid, uint64_t start_time, const char *tracker, int *ret_fd, struct mig_error *err);

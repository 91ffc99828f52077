/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A userfaultfd in a process that knows nothing of it: the one system call that only the process itself can
 * make is made in its name with ptrace. Its main thread stands still for about a millisecond; nothing in its
 * memory is changed. Any thread; blocks.
 */
#pragma once
#include "base/error.h"
#include <sys/types.h>

/* How many userfaultfds the process has; *ret_number: of one of them. */
unsigned uffd_find(pid_t pid, int *ret_number);
/* *ret_fd: with asynchronous write protection switched on, for tracker_new_uffd. The process keeps its own
 * descriptor: it costs nothing, and a later migd finds it. tracker: for messages. */
int uffd_inject(pid_t pid, const char *tracker, int *ret_fd, struct mig_error *err);

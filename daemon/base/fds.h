/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors: whole reads and writes, SCM_RIGHTS, duplicates. Plain errno; any thread. */
#pragma once
#include "base/util.h"
#include <sys/types.h>

/* Duplicate with close-on-exec; -errno. */
int fd_dup(int fd);
int fd_set_nonblock(int fd, bool nonblock);
/* Reads exactly size bytes from a blocking fd. 0, -errno, or -EPIPE when the file ends before. */
int read_full(int fd, void *buf, size_t size);
int write_full(int fd, const void *buf, size_t size);
int pread_full(int fd, void *buf, size_t size, uint64_t offset);
/* Waits for events on fd until deadline (see clock.h) or until cancel_fd (-1: none) is readable.
 * revents > 0, 0 never; -ETIMEDOUT, -ECANCELED, -errno. POLLHUP and POLLERR count as events. */
int fd_wait(int fd, short events, int cancel_fd, uint64_t deadline_usec);
/* A path, whole, of at most max bytes, NUL-terminated (for JSON and records). */
int read_file(const char *path, size_t max, char **ret, size_t *ret_size);
/* Writes path atomically: PATH.tmp, then rename. No sync: see design, the record must survive the daemon, not
 * the host. */
int write_file_atomic(const char *path, const void *data, size_t size);
/* mkdir -p; 0700 for what it makes. */
int mkdir_parents(const char *path);

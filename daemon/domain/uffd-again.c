/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/uffd-again.h"
#include "dirty/uffd-inject.h"
#include "base/fds.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

uint64_t process_start_time(pid_t pid)
{
    char path[64];
    _cleanup_free_ char *text = NULL;
    uint64_t start = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_file(path, 4096, &text, NULL) < 0)
        return 0;
    /* The name in parentheses may hold anything; field 22, counted from the field after it as number 3. */
    char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p && sscanf(p, " %" SCNu64, &start) == 1 ? start : 0;
}

int uffd_check_owner(pid_t pid, uint64_t start_time, const char *tracker, struct mig_error *err)
{
    if (start_time != 0 && process_start_time(pid) == start_time)
        return 0;
    return mig_error_set(err, MIG_ERR_TRACKER, ESRCH, "the workload of tracker %s (process %d) has ended",
                         tracker, pid);
}

int uffd_take_again(pid_t pid, uint64_t start_time, const char *tracker, int *ret_fd, struct mig_error *err)
{
    int number = -1;
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0u);
    /* Asked after the pidfd was taken, which cannot come to mean another process. */
    int r = uffd_check_owner(pid, pidfd < 0 ? 0 : start_time, tracker, err);
    if (r < 0)
        return r;
    unsigned found = uffd_find(pid, &number);
    if (found != 1)
        return mig_error_set(err, MIG_ERR_TRACKER, ENOENT,
                             "the workload of tracker %s (process %d) has %u userfaultfds instead of one",
                             tracker, pid, found);
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0u);
    if (fd < 0)
        return mig_error_set(err, MIG_ERR_TRACKER, errno,
                             "cannot take the userfaultfd of process %d for tracker %s: %s", pid, tracker,
                             strerror(errno));
    *ret_fd = fd;
    return 0;
}

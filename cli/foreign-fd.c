/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "foreign-fd.h"
#include <string.h>
#include <sys/syscall.h>

int foreign_fd_take(uint64_t pid, uint64_t number, int *ret, struct mig_error *err)
{
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (pidfd < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, errno, "process %llu: %s",
                             (unsigned long long)pid,
                             errno == ESRCH ? "there is none with this number" : strerror(errno));
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)number, 0);
    if (fd < 0) {
        int e = errno;
        int r = mig_error_set(err, e == EPERM ? MIG_ERR_NOT_ALLOWED : MIG_ERR_INVALID_ARGUMENT, e,
                              "cannot take descriptor %llu of process %llu: %s", (unsigned long long)number,
                              (unsigned long long)pid, strerror(e));
        if (e == EPERM)
            mig_error_hint(err, "It takes root, or the same user and leave to trace the process");
        return r;
    }
    *ret = fd;
    return 0;
}

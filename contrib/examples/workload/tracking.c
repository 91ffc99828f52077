/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tracking.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the kernel headers of Debian 12; from the kernel's include/uapi/linux/userfaultfd.h. */
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

int uffd_create(void)
{
    struct uffdio_api api = {
        .api = UFFD_API,
        .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                    UFFD_FEATURE_PAGEFAULT_FLAG_WP,
    };
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0) {
        int error = errno;
        fprintf(stderr,
                "Cannot use userfaultfd with asynchronous write protection (Linux 6.7 or newer, and "
                "CAP_SYS_PTRACE or vm.unprivileged_userfaultfd): %s\n",
                strerror(error));
        if (fd >= 0)
            close(fd);
        return -error;
    }
    return fd;
}

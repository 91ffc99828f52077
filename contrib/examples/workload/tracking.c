/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tracking.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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

int cpu_log_create(struct cpu_log *log, const char *path, uint64_t pages)
{
    *log = (struct cpu_log){.bytes = (pages + 63) / 64 * 8};
    if (path) {
        snprintf(log->path, sizeof log->path, "%s", path);
        log->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    } else {
        log->fd = memfd_create("cpu-log", MFD_CLOEXEC);
        snprintf(log->path, sizeof log->path, "/proc/%d/fd/%d", (int)getpid(), log->fd);
    }
    void *p = MAP_FAILED;
    if (log->fd >= 0 && ftruncate(log->fd, (off_t)log->bytes) == 0)
        p = mmap(NULL, log->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0);
    if (p == MAP_FAILED) {
        int error = errno;
        fprintf(stderr, "Cannot make the dirty log: %s\n", strerror(error));
        return -error;
    }
    log->words = p;
    return 0;
}

void cpu_log_close(struct cpu_log *log)
{
    if (!log->words)
        return;
    munmap(log->words, log->bytes);
    close(log->fd);
    log->words = NULL;
}

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

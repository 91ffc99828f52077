/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu-log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int cpu_log_create(struct cpu_log *log, const char *path, uint64_t pages)
{
    *log = (struct cpu_log){.bytes = (pages + 63) / 64 * 8};
    if (path) {
        snprintf(log->path, sizeof log->path, "%s", path);
        log->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    } else {
        log->fd = memfd_create("cpu-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        snprintf(log->path, sizeof log->path, "/proc/%d/fd/%d", (int)getpid(), log->fd);
    }
    void *p = MAP_FAILED;
    if (log->fd >= 0 && ftruncate(log->fd, (off_t)log->bytes) == 0 &&
        (path || fcntl(log->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0))
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

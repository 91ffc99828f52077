/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/vm-process.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXITING 0x4 /* PF_EXITING of the kernel's sched.h, in flags of proc(5) */

struct vm_process vm_process_open(const struct hook *hook, const char *name, const char *uuid)
{
    struct vm_process p = VM_PROCESS_NONE;
    char path[64];
    pid_t pid = hook ? hook_find_process(hook, name, uuid) : 0;
    if (pid <= 0)
        return p;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    p.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    p.stat_fd = open(path, O_RDONLY | O_CLOEXEC);
    /* Looked for again, so that they are of this process and of none that has its number by now. */
    if (p.pidfd < 0 || p.stat_fd < 0 || hook_find_process(hook, name, uuid) != pid)
        vm_process_close(&p);
    return p;
}

static bool is_exiting(int stat_fd)
{
    char text[512];
    unsigned flags = 0;
    ssize_t n = pread(stat_fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return n < 0 && errno == ESRCH;
    text[n] = '\0';
    const char *rest = strrchr(text, ')'); /* behind its name: state, and five numbers before the flags */
    return rest && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && (flags & EXITING);
}

bool vm_process_has_ended(const struct vm_process *p)
{
    struct pollfd ended = {.fd = p->pidfd, .events = POLLIN};
    return p->pidfd >= 0 && (poll(&ended, 1, 0) > 0 || is_exiting(p->stat_fd));
}

void vm_process_close(struct vm_process *p)
{
    close_fd(&p->pidfd);
    close_fd(&p->stat_fd);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main thread is seized and interrupted, its registers are pointed at a `syscall` instruction of the
 * vDSO, one step is made, and the registers are given back. A system call that it was in is begun again by
 * the kernel, as after a signal. Signals that arrive meanwhile are delivered when it is let go.
 */
#include "dirty/uffd-inject.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/parse.h"
#include "dirty/uffd-uapi.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#define PATIENCE_USEC (2 * USEC_PER_SEC)
#define SIGNALS_MAX   16u
#define MAPS_MAX      ((size_t)8 << 20)

#ifndef UFFD_USER_MODE_ONLY /* Linux 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif

unsigned uffd_find(pid_t pid, int *ret_number)
{
    char path[64];
    unsigned found = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char target[64];
        uint64_t number;
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof target - 1);
        if (n < 0 || parse_unsigned(e->d_name, INT32_MAX, &number) < 0)
            continue;
        target[n] = '\0';
        if (strcmp(target, "anon_inode:[userfaultfd]") != 0)
            continue;
        found++;
        *ret_number = (int)number;
    }
    closedir(dir);
    return found;
}

#ifdef __x86_64__

struct victim {
    pid_t pid;
    int signals[SIGNALS_MAX];
    unsigned nsignals;
};

/* Until it stops; the signal that stopped it, with the event above it. -errno. */
static int wait_stop(pid_t pid)
{
    uint64_t deadline_usec = deadline_in(PATIENCE_USEC);
    for (;;) {
        int status;
        pid_t got = waitpid(pid, &status, __WALL | WNOHANG);
        if (got == pid)
            return WIFSTOPPED(status) ? status >> 8 : -ESRCH;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (now_usec() >= deadline_usec)
            return -ETIMEDOUT;
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

static void remember_signal(struct victim *v, int signal)
{
    if (v->nsignals < SIGNALS_MAX)
        v->signals[v->nsignals++] = signal;
}

static int seize(struct victim *v)
{
    if (ptrace(PTRACE_SEIZE, v->pid, NULL, NULL) < 0 || ptrace(PTRACE_INTERRUPT, v->pid, NULL, NULL) < 0)
        return -errno;
    for (;;) {
        int stop = wait_stop(v->pid);
        if (stop < 0 || stop >> 8 == PTRACE_EVENT_STOP)
            return MIN(stop, 0);
        remember_signal(v, stop & 0xff);
        if (ptrace(PTRACE_CONT, v->pid, NULL, NULL) < 0)
            return -errno;
    }
}

static void let_go(struct victim *v)
{
    for (unsigned i = 1; i < v->nsignals; i++)
        syscall(SYS_tgkill, v->pid, v->pid, v->signals[i]);
    ptrace(PTRACE_DETACH, v->pid, NULL, (void *)(intptr_t)(v->nsignals ? v->signals[0] : 0));
}

/* Where in the vDSO the bytes of `syscall` stand; 0: nowhere. */
static uint64_t find_syscall(pid_t pid)
{
    char path[64], *state = NULL;
    _cleanup_free_ char *maps = NULL;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    if (read_file(path, MAPS_MAX, &maps, NULL) < 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    _cleanup_close_ int mem = open(path, O_RDONLY | O_CLOEXEC);
    for (char *line = strtok_r(maps, "\n", &state); mem >= 0 && line; line = strtok_r(NULL, "\n", &state)) {
        uint64_t start, end;
        uint8_t code[16384];
        if (!strstr(line, "[vdso]") || sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
            continue;
        size_t size = MIN(end - start, (uint64_t)sizeof code);
        if (pread_full(mem, code, size, start) < 0)
            return 0;
        for (size_t i = 0; i + 1 < size; i++)
            if (code[i] == 0x0f && code[i + 1] == 0x05)
                return start + i;
    }
    return 0;
}

/* One step, over the instruction at the program counter. */
static int step(struct victim *v)
{
    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, v->pid, NULL, NULL) < 0)
            return -errno;
        int stop = wait_stop(v->pid);
        if (stop < 0)
            return stop;
        if ((stop & 0xff) == SIGTRAP && stop >> 8 == 0)
            return 0;
        if (stop >> 8 == 0)
            remember_signal(v, stop & 0xff);
    }
}

/* number(argument) in the name of v, which stands still. */
static int64_t call(struct victim *v, uint64_t at, long number, uint64_t argument)
{
    struct user_regs_struct before, regs;
    if (ptrace(PTRACE_GETREGS, v->pid, NULL, &before) < 0)
        return -errno;
    if (before.cs != 0x33)
        return -ENOEXEC; /* 32 bits */
    regs = before;
    regs.rip = at;
    regs.rax = (unsigned long long)number;
    regs.orig_rax = (unsigned long long)-1; /* it is in no system call that could be begun again */
    regs.rdi = argument;
    if (ptrace(PTRACE_SETREGS, v->pid, NULL, &regs) < 0)
        return -errno;
    int64_t r = step(v);
    if (r == 0 && ptrace(PTRACE_GETREGS, v->pid, NULL, &regs) == 0)
        r = (int64_t)regs.rax;
    if (ptrace(PTRACE_SETREGS, v->pid, NULL, &before) < 0)
        return -errno;
    return r;
}

static int make_in(pid_t pid)
{
    struct victim v = {.pid = pid};
    int64_t r = seize(&v);
    if (r == 0) {
        uint64_t at = find_syscall(pid);
        r = at ? call(&v, at, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY) : -ENOEXEC;
    }
    let_go(&v);
    return (int)r;
}

#else

static int make_in(pid_t pid)
{
    return -ENOSYS;
}

#endif

static int explain(int r, pid_t pid, const char *tracker, const char *what, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_TRACKER, -r, "tracker %s: %s process %d: %s", tracker, what, (int)pid,
                  strerror(-r));
    if (r == -EPERM || r == -EACCES)
        mig_error_hint(err,
                       "migd needs CAP_SYS_PTRACE, nobody else may be tracing that process, and its seccomp "
                       "filter must let userfaultfd through");
    else if (r == -ENOSYS || r == -ENOEXEC)
        mig_error_hint(err,
                       "this works for 64-bit processes on x86-64; let the VMM make the userfaultfd itself");
    else
        mig_error_hint(err, "a cpu-log that the VMM fills works everywhere");
    return r;
}

int uffd_inject(pid_t pid, const char *tracker, int *ret_fd, struct mig_error *err)
{
    int number = -1;
    _cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd = -1;
    if (pidfd < 0)
        return explain(-errno, pid, tracker, "there is no", err);
    bool there = uffd_find(pid, &number) == 1; /* of an earlier migration */
    if (!there)
        number = make_in(pid);
    if (number < 0)
        return explain(number, pid, tracker, "cannot make a userfaultfd in", err);
    fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (fd < 0)
        return explain(-errno, pid, tracker, "cannot take the userfaultfd of", err);
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_WANT};
    if (ioctl(fd, UFFDIO_API, &api) < 0 && !there)
        return explain(-errno, pid, tracker, "asynchronous write protection (Linux 6.7) for", err);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

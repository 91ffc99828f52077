/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "foreign-fd.h"
#include "base/fds.h"
#include "base/parse.h"
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define PROCESSES_MAX  64u
#define SMALL_FILE_MAX 16384u

static struct {
    uint64_t pid;
    int pidfd;
} processes[PROCESSES_MAX];
static size_t n_processes;

/* ---- who ---- */

static int check_namespace(struct mig_error *err)
{
    char text[32];
    ssize_t n = readlink("/proc/self", text, sizeof text - 1);
    if (n < 0) {
        int r = mig_error_set(err, MIG_ERR_FAILED, errno, "there is no /proc here to look into processes: %s",
                              strerror(errno));
        mig_error_hint(err, "Mount it: mount -t proc proc /proc");
        return r;
    }
    text[n] = '\0';
    if (strtoll(text, NULL, 10) == getpid())
        return 0;
    int r = mig_error_set(err, MIG_ERR_FAILED, EXDEV,
                          "the /proc here belongs to another PID namespace: process numbers mean other "
                          "processes there");
    mig_error_hint(err,
                   "Run migctl where migd runs, or mount /proc anew: unshare -m, mount -t proc proc /proc");
    return r;
}

/* pidfd_open refused: a thread, or nobody. */
static int no_process(uint64_t pid, int error, struct mig_error *err)
{
    char path[64];
    _cleanup_free_ char *text = NULL;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/status", pid);
    unsigned long leader = 0;
    const char *line = read_file(path, SMALL_FILE_MAX, &text, NULL) == 0 ? strstr(text, "\nTgid:") : NULL;
    if (line && sscanf(line, " Tgid: %lu", &leader) == 1 && leader != pid) {
        int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, error, "%" PRIu64 " is a thread, of process %lu",
                              pid, leader);
        mig_error_hint(err, "Give the number of the process: %lu", leader);
        return r;
    }
    int r = mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, error,
                          error == ESRCH ? "there is no process %" PRIu64 " here"
                                         : "process %" PRIu64 " cannot be opened",
                          pid);
    if (error == ESRCH)
        mig_error_hint(err,
                       "A process of a container has another number out here than inside: lsns -t pid -o "
                       "PID,COMMAND lists them as this host sees them");
    return r;
}

static int ended(uint64_t pid, struct mig_error *err)
{
    return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, ESRCH, "process %" PRIu64 " has ended", pid);
}

int foreign_open(uint64_t pid, int *ret_pidfd, struct mig_error *err)
{
    struct pollfd p = {.fd = -1, .events = POLLIN};
    for (size_t i = 0; i < n_processes; i++)
        if (processes[i].pid == pid)
            p.fd = processes[i].pidfd;
    if (p.fd < 0) {
        int r = check_namespace(err);
        if (r < 0)
            return r;
        if (n_processes == PROCESSES_MAX)
            return mig_error_set(err, MIG_ERR_LIMIT, 0, "descriptors of more than %u processes",
                                 PROCESSES_MAX);
        p.fd = pid && pid <= INT32_MAX ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
        if (p.fd < 0)
            return no_process(pid, pid && pid <= INT32_MAX ? errno : ESRCH, err);
        processes[n_processes].pid = pid;
        processes[n_processes++].pidfd = p.fd;
    }
    if (poll(&p, 1, 0) > 0)
        return ended(pid, err);
    *ret_pidfd = p.fd;
    return 0;
}

/* ---- what ---- */

char *foreign_identity(const char *proc, const char *pid, uint64_t number)
{
    char path[600], link[4096 + 32];
    _cleanup_free_ char *info = NULL;
    char *identity;
    if ((size_t)snprintf(path, sizeof path, "%s/%s/fd/%" PRIu64, proc, pid, number) >= sizeof path)
        return NULL;
    ssize_t n = readlink(path, link, sizeof link - 1);
    if (n < 0)
        return NULL;
    link[n] = '\0';
    snprintf(path, sizeof path, "%s/%s/fdinfo/%" PRIu64, proc, pid, number);
    unsigned long long inode = 0; /* unknown before Linux 5.14 */
    if (read_file(path, SMALL_FILE_MAX, &info, NULL) == 0) {
        const char *line = strncmp(info, "ino:", 4) == 0 ? info : strstr(info, "\nino:");
        if (line && sscanf(line, " ino: %llu", &inode) != 1)
            inode = 0;
    }
    return asprintf(&identity, "%llu %s", inode, link) < 0 ? NULL : identity;
}

static int check_identity(uint64_t pid, uint64_t number, int fd, const char *seen, struct mig_error *err)
{
    if (!seen)
        return 0;
    _cleanup_free_ char *now = foreign_identity("/proc", "self", (uint64_t)fd);
    if (now && strcmp(now, seen) == 0)
        return 0;
    int r = mig_error_set(err, MIG_ERR_BUSY, EAGAIN,
                          "descriptor %" PRIu64 " of process %" PRIu64 " was %.100s and is %.100s now",
                          number, pid, strchr(seen, ' ') ? strchr(seen, ' ') + 1 : seen,
                          now && strchr(now, ' ') ? strchr(now, ' ') + 1 : "something else");
    mig_error_hint(err, "The process changes its descriptors: try again when it has settled");
    return r;
}

int foreign_fd_take(uint64_t pid, uint64_t number, const char *seen, int *ret, struct mig_error *err)
{
    int pidfd;
    int r = foreign_open(pid, &pidfd, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)number, 0);
    if (fd < 0) {
        char what[100];
        int e = errno;
        if (e == ESRCH)
            return ended(pid, err);
        snprintf(what, sizeof what, "cannot take descriptor %" PRIu64 " of process %" PRIu64, number, pid);
        if (e == EPERM || e == EACCES)
            return foreign_explain(pid, what, e, err);
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, e, "%s: %s", what,
                             e == EBADF    ? "it has none with this number"
                             : e == ENOSYS ? "this kernel has no pidfd_getfd (it came with Linux 5.6)"
                                           : strerror(e));
    }
    r = check_identity(pid, number, fd, seen, err);
    if (r == 0)
        *ret = TAKE_FD(fd);
    return r;
}

/* ---- why not ---- */

int foreign_refused(const struct foreign_rights *w, const char *what, int error, struct mig_error *err)
{
    int r;
    if (w->may_trace && w->ptrace_scope == 3) {
        r = mig_error_set(
            err, MIG_ERR_NOT_ALLOWED, error,
            "%s: kernel.yama.ptrace_scope is 3, with which nobody may look into another process", what);
        mig_error_hint(err, "It stays so until the next boot. Let the workload register itself over D-Bus");
    } else if (w->may_trace && w->filtered) {
        r = mig_error_set(err, MIG_ERR_NOT_ALLOWED, error,
                          "%s: migctl has the right, but runs under a seccomp filter, which forbids it",
                          what);
        mig_error_hint(err, "Run migctl outside of this container, or let its filter pass pidfd_getfd "
                            "(systemd-nspawn --system-call-filter=pidfd_getfd, podman --cap-add=SYS_PTRACE)");
    } else if (w->may_trace) {
        r = mig_error_set(
            err, MIG_ERR_NOT_ALLOWED, error,
            "%s: %s, although migctl has CAP_SYS_PTRACE: the process is in a user namespace above "
            "this one, or a security module forbids it",
            what, strerror(error));
        mig_error_hint(err,
                       "Run migctl on the host itself; the audit log names what a security module refused");
    } else if (w->own_uid != w->other_uid) {
        r = mig_error_set(err, MIG_ERR_NOT_ALLOWED, error,
                          "%s: it belongs to uid %" PRIu32 ", and migctl runs as uid %" PRIu32, what,
                          w->other_uid, w->own_uid);
        mig_error_hint(err, "Run migctl as root");
    } else if (w->ptrace_scope > 0) {
        r = mig_error_set(err, MIG_ERR_NOT_ALLOWED, error,
                          "%s: kernel.yama.ptrace_scope is %d, with which the same uid is not enough", what,
                          w->ptrace_scope);
        mig_error_hint(err, "Run migctl as root%s",
                       w->ptrace_scope == 1 ? ", or allow it: sysctl kernel.yama.ptrace_scope=0" : "");
    } else {
        r = mig_error_set(err, MIG_ERR_NOT_ALLOWED, error,
                          "%s: the process keeps others of its uid out (it has capabilities, or is not "
                          "dumpable)%s",
                          what, w->filtered ? ", or the seccomp filter of migctl forbids it" : "");
        mig_error_hint(err, "Run migctl as root");
    }
    return r;
}

/* The number after "KEY:" in a status file; base 16 or 10. */
static uint64_t status_number(const char *text, const char *key, int base)
{
    char start[32];
    snprintf(start, sizeof start, "\n%s:", key);
    const char *line = strstr(text, start);
    return line ? strtoull(line + strlen(start), NULL, base) : 0;
}

int foreign_explain(uint64_t pid, const char *what, int error, struct mig_error *err)
{
    enum { CAP_SYS_PTRACE_BIT = 19 };
    char path[64];
    _cleanup_free_ char *own = NULL, *other = NULL, *scope = NULL;
    struct foreign_rights w = {.own_uid = (uint32_t)geteuid(), .ptrace_scope = -1};
    if (read_file("/proc/self/status", SMALL_FILE_MAX, &own, NULL) == 0) {
        w.may_trace = status_number(own, "CapEff", 16) >> CAP_SYS_PTRACE_BIT & 1;
        w.filtered = status_number(own, "Seccomp", 10) != 0;
    }
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/status", pid);
    w.other_uid = read_file(path, SMALL_FILE_MAX, &other, NULL) == 0
                      ? (uint32_t)status_number(other, "Uid", 10)
                      : w.own_uid;
    if (read_file("/proc/sys/kernel/yama/ptrace_scope", SMALL_FILE_MAX, &scope, NULL) == 0)
        w.ptrace_scope = (int)strtol(scope, NULL, 10);
    return foreign_refused(&w, what, error, err);
}

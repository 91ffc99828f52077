/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A service manager for one service: starts COMMAND with a notification socket, keeps what it puts into the
 * store of descriptors, and starts it again with them when it is killed, as systemd does for a unit with
 * Restart=on-failure and FileDescriptorStoreMax=.
 *
 *   keeper [--pid-file FILE] COMMAND [ARGUMENT]...
 *
 * FILE holds the pid of the service as soon as it is ready. SIGTERM ends the service and then the keeper,
 * which exits as the service did; a service that ends by itself ends it too. At the end it prints how many
 * descriptors are left in the store.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define STORE_MAX 512

static struct {
    char name[256];
    int fd;
} store[STORE_MAX];
static size_t nstore;
static const char *pid_file;
static pid_t service;
static bool ending;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void write_pid_file(void)
{
    char temporary[300];
    if (!pid_file)
        return;
    snprintf(temporary, sizeof temporary, "%s.tmp", pid_file);
    FILE *f = fopen(temporary, "w");
    if (!f || fprintf(f, "%d\n", service) < 0 || fclose(f) != 0 || rename(temporary, pid_file) < 0)
        die(pid_file);
}

static void forget(const char *name)
{
    for (size_t i = nstore; i-- > 0;)
        if (strcmp(store[i].name, name) == 0) {
            close(store[i].fd);
            store[i] = store[--nstore];
        }
}

static void keep(const char *name, int fd)
{
    pid_t self = getpid();
    bool known = nstore == STORE_MAX;
    for (size_t i = 0; i < nstore; i++)
        known |= syscall(SYS_kcmp, self, self, KCMP_FILE, (unsigned long)store[i].fd, (unsigned long)fd) == 0;
    if (known) { /* as systemd: without a word */
        close(fd);
        return;
    }
    snprintf(store[nstore].name, sizeof store[0].name, "%s", name);
    store[nstore++].fd = fd;
}

static void take_message(int socket)
{
    char text[4096], control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {text, sizeof text - 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    int fd = -1;
    if (n < 0)
        return;
    text[n] = '\0';
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
    const char *name = "stored";
    bool stored = false, removed = false;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        stored |= strcmp(line, "FDSTORE=1") == 0;
        removed |= strcmp(line, "FDSTOREREMOVE=1") == 0;
        if (strncmp(line, "FDNAME=", 7) == 0)
            name = line + 7;
        if (strcmp(line, "READY=1") == 0)
            write_pid_file();
    }
    if (removed)
        forget(name);
    else if (stored && fd >= 0)
        keep(name, fd);
    else if (fd >= 0)
        close(fd);
}

static void start(char **command, sigset_t *old_mask)
{
    service = fork();
    if (service < 0)
        die("fork");
    if (service > 0)
        return;
    static char names[STORE_MAX * 256];
    char text[32];
    int high[STORE_MAX];
    for (size_t i = 0; i < nstore; i++) {
        strcat(strcat(names, i ? ":" : ""), store[i].name);
        high[i] = fcntl(store[i].fd, F_DUPFD_CLOEXEC, STORE_MAX + 8);
    }
    for (size_t i = 0; i < nstore; i++)
        if (high[i] < 0 || dup2(high[i], 3 + (int)i) < 0)
            _exit(127);
    if (nstore) {
        snprintf(text, sizeof text, "%d", getpid());
        setenv("LISTEN_PID", text, 1);
        snprintf(text, sizeof text, "%zu", nstore);
        setenv("LISTEN_FDS", text, 1);
        setenv("LISTEN_FDNAMES", names, 1);
    }
    sigprocmask(SIG_SETMASK, old_mask, NULL);
    execvp(command[0], command);
    _exit(127);
}

/* True when the keeper is to end too. */
static bool service_ended(int *ret_code)
{
    int status;
    if (waitpid(service, &status, WNOHANG) != service)
        return false;
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return ending || WIFEXITED(status);
}

int main(int argc, char **argv)
{
    char path[64];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    sigset_t mask, old_mask;
    int first = 1, code = 0;
    if (argc > 2 && strcmp(argv[1], "--pid-file") == 0) {
        pid_file = argv[2];
        first = 3;
    }
    if (first >= argc) {
        fprintf(stderr, "usage: keeper [--pid-file FILE] COMMAND...\n");
        return 2;
    }
    snprintf(path, sizeof path, "/tmp/keeper-%d", getpid());
    memcpy(a.sun_path, path, strlen(path) + 1);
    int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify < 0 || bind(notify, (struct sockaddr *)&a, sizeof a) < 0)
        die(path);
    setenv("NOTIFY_SOCKET", path, 1);
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, &old_mask);
    int signals = signalfd(-1, &mask, SFD_CLOEXEC);
    start(argv + first, &old_mask);
    for (;;) {
        struct pollfd p[] = {{.fd = notify, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            die("poll");
        if (p[0].revents) { /* before the death of who sent it */
            take_message(notify);
            continue;
        }
        struct signalfd_siginfo info;
        if (!p[1].revents || read(signals, &info, sizeof info) != sizeof info)
            continue;
        if (info.ssi_signo != SIGCHLD) {
            ending = true;
            kill(service, SIGTERM);
            continue;
        }
        if (!service_ended(&code)) {
            if (kill(service, 0) < 0) {
                if (pid_file)
                    unlink(pid_file);
                start(argv + first, &old_mask);
            }
            continue;
        }
        printf("keeper: %zu descriptors are left\n", nstore);
        for (size_t i = 0; i < nstore; i++)
            printf("keeper: %s\n", store[i].name);
        unlink(path);
        if (pid_file)
            unlink(pid_file);
        return code;
    }
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `ssh -xT HOST systemd-stdio-bridge` with D-Bus on its standard input and output, as systemctl -H does it.
 * ssh prints to our standard error what it has to say, and asks the terminal for a password. When the other
 * side does not greet, the bus only knows that the stream ended; what the matter was is in the exit status of
 * ssh. sd_bus_open_system_remote() sometimes reaps ssh itself and keeps the status, so ssh is started here.
 */
#include "remote-bus.h"
#include "bus.h"
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define SSH_FAILED        255 /* ssh(1): its exit status when the connection or the login failed */
#define SHELL_NOT_FOUND   127
#define SHELL_NOT_ALLOWED 126
#define WAIT_MSEC         2000 /* for the end of ssh when its output has ended */

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    char file[4096];
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t length = strcspn(p, ":");
        if (snprintf(file, sizeof file, "%.*s/%s", (int)length, p, program) < (int)sizeof file &&
            access(file, X_OK) == 0)
            return true;
        p += length;
        p += *p == ':';
    }
    return false;
}

/* -1: it runs on, or was killed. */
static int ssh_exit_status(pid_t pid)
{
    for (int waited_msec = 0; waited_msec < WAIT_MSEC; waited_msec += 10) {
        int status = 0;
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended < 0)
            return -1;
        if (ended == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    return -1;
}

/* A socket to the standard input and output of ssh. When it is closed, ssh ends; nobody needs to wait for it.
 */
static int start_ssh(const char *host, int *ret_fd, pid_t *ret_pid)
{
    const char *arguments[] = {"ssh", "-xT", "--", host, "systemd-stdio-bridge", NULL};
    _cleanup_close_ int ours = -EBADF;
    _cleanup_close_ int theirs = -EBADF;
    posix_spawn_file_actions_t actions;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = pair[1];
    int r = -posix_spawn_file_actions_init(&actions);
    if (r < 0)
        return r;
    r = -posix_spawn_file_actions_adddup2(&actions, theirs, STDIN_FILENO);
    if (r == 0)
        r = -posix_spawn_file_actions_adddup2(&actions, theirs, STDOUT_FILENO);
    if (r == 0)
        r = -posix_spawnp(ret_pid, "ssh", &actions, NULL, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (r == 0)
        *ret_fd = TAKE_FD(ours);
    return r;
}

static int greet(int *fd, sd_bus *bus)
{
    const char *name;
    int r = sd_bus_set_fd(bus, *fd, *fd);
    if (r < 0)
        return r;
    *fd = -EBADF; /* the bus closes it */
    r = sd_bus_set_bus_client(bus, true);
    if (r >= 0)
        r = sd_bus_negotiate_fds(bus, false);
    if (r >= 0)
        r = sd_bus_start(bus);
    return r < 0 ? r : sd_bus_get_unique_name(bus, &name); /* waits for the greeting */
}

static int failed(const char *host, pid_t ssh, int r, struct mig_error *err)
{
    switch (ssh_exit_status(ssh)) {
    case SSH_FAILED:
        r = mig_error_set(err, MIG_ERR_PEER_UNREACHABLE, -r,
                          "ssh could not reach %s, or was not let in; it said why above", host);
        mig_error_hint(err, "Try: ssh %s true", host);
        return r;
    case SHELL_NOT_FOUND:
    case SHELL_NOT_ALLOWED:
        r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, 0, "there is no systemd-stdio-bridge on %s", host);
        mig_error_hint(err,
                       "It is a part of systemd; see whether it lies in the PATH there: "
                       "ssh %s type systemd-stdio-bridge",
                       host);
        return r;
    default:
        r = mig_error_set(err, MIG_ERR_FAILED, -r, "the system bus of %s did not answer over ssh: %s", host,
                          strerror(-r));
        mig_error_hint(err, "Check that dbus runs there: ssh %s systemctl status dbus", host);
        return r;
    }
}

int remote_bus_open(const char *host, sd_bus **ret, struct mig_error *err)
{
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_close_ int fd = -EBADF;
    pid_t ssh = 0;

    if (!*host || *host == '-')
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.100s\" is not a host: --host [USER@]HOST",
                             host);
    if (!in_path("ssh")) {
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, ENOENT, "--host needs ssh, which is not here");
        mig_error_hint(err, "Install it (Debian: openssh-client)");
        return r;
    }
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = start_ssh(host, &fd, &ssh);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "cannot start ssh: %s", strerror(-r));
    r = greet(&fd, bus);
    if (r < 0)
        return failed(host, ssh, r, err);
    *ret = TAKE_PTR(bus);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sd-bus runs `ssh -xT HOST systemd-stdio-bridge` and speaks D-Bus with it. ssh prints to our standard error
 * what it has to say, and asks the terminal for a password. When the other side does not greet, sd-bus only
 * knows that the stream ended; what the matter was is read from the exit status of ssh, which is looked at
 * before sd-bus reaps the process.
 */
#include "remote-bus.h"
#include "bus.h"
#include <string.h>
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

/* The only child that migctl ever has; it is left for sd-bus to reap. -1: it runs on. */
static int ssh_exit_status(void)
{
    for (int waited_msec = 0; waited_msec < WAIT_MSEC; waited_msec += 10) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG) < 0)
            return -1;
        if (info.si_pid)
            return info.si_code == CLD_EXITED ? info.si_status : -1;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    return -1;
}

static int failed(const char *host, int r, struct mig_error *err)
{
    switch (ssh_exit_status()) {
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
    const char *name;
    if (!in_path("ssh")) {
        int r = mig_error_set(err, MIG_ERR_NOT_SUPPORTED, ENOENT, "--host needs ssh, which is not here");
        mig_error_hint(err, "Install it (Debian: openssh-client)");
        return r;
    }
    int r = sd_bus_open_system_remote(&bus, host);
    if (r == -EINVAL)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "\"%.100s\" is not a host: --host [USER@]HOST",
                             host);
    if (r >= 0)
        r = sd_bus_get_unique_name(bus, &name); /* waits for the greeting */
    if (r < 0)
        return failed(host, r, err);
    *ret = TAKE_PTR(bus);
    return 0;
}

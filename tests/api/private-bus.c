/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "private-bus.h"
#include "base/clock.h"
#include "base/fds.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static const char config_format[] =
    "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n"
    " \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
    "<busconfig><type>session</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>\n"
    "<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow "
    "eavesdrop=\"true\"/>"
    "<allow own=\"*\"/><allow user=\"*\"/></policy>\n"
    "</busconfig>\n";

static void run_daemon(const char *config, int ready_fd)
{
    char option[600], print[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(option, sizeof option, "--config-file=%s", config);
    snprintf(print, sizeof print, "--print-address=%d", ready_fd);
    fcntl(ready_fd, F_SETFD, 0);
    execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", print, (char *)NULL);
    _exit(127);
}

int private_bus_start(struct private_bus *b)
{
    char config[128], text[1024];
    int ready[2];
    *b = (struct private_bus){.pid = -1};
    snprintf(b->dir, sizeof b->dir, "/tmp/migd-bus-XXXXXX");
    if (!mkdtemp(b->dir))
        return -errno;
    snprintf(config, sizeof config, "%s/conf", b->dir);
    snprintf(text, sizeof text, config_format, b->dir);
    int r = write_file_atomic(config, text, strlen(text));
    if (r == 0 && pipe2(ready, O_CLOEXEC) < 0)
        r = -errno;
    if (r < 0)
        return r;
    b->pid = fork();
    if (b->pid == 0)
        run_daemon(config, ready[1]);
    close(ready[1]);
    /* One byte of the address says that it listens; the end of the file that it never will. */
    char c;
    r = fd_wait(ready[0], POLLIN, -1, deadline_in(10 * USEC_PER_SEC));
    r = r > 0 && read(ready[0], &c, 1) == 1 ? 0 : -ENOENT;
    close(ready[0]);
    snprintf(b->address, sizeof b->address, "unix:path=%s/bus", b->dir);
    if (r < 0)
        private_bus_stop(b);
    return r;
}

void private_bus_stop(struct private_bus *b)
{
    char path[128];
    if (b->pid > 0) {
        kill(b->pid, SIGKILL);
        waitpid(b->pid, NULL, 0);
        b->pid = -1;
    }
    snprintf(path, sizeof path, "%s/bus", b->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/conf", b->dir);
    unlink(path);
    rmdir(b->dir);
}

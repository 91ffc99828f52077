/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "migd-process.h"
#include "base/clock.h"
#include "base/fds.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static pid_t spawn(const char *program, const char *const *argv, const char *bus_address)
{
    char path[600];
    const char *build = getenv("TOP_BUILDDIR");
    snprintf(path, sizeof path, "%s/%s", build ? build : ".", program);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (bus_address)
        setenv("MIGD_BUS_ADDRESS", bus_address, true);
    execv(path, (char *const *)argv);
    perror(path);
    _exit(127);
}

static bool has_owner(sd_bus *bus, const char *name)
{
    return sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                              "GetNameOwner", NULL, NULL, "s", name) >= 0;
}

int migd_start(struct migd_process *p, const char *bus_address, sd_bus *bus)
{
    const char *argv[] = {
        "migd",       "--runtime-dir", p->runtime_dir, "--listen", p->listen ? p->listen : "",
        "--security", "plain",         "--log-level",  "err",      NULL};
    uint64_t end = deadline_in(20 * USEC_PER_SEC);
    p->pid = spawn("migd", argv, bus_address);
    while (!has_owner(bus, "org.migd.Migd1")) {
        if (now_usec() > end || waitpid(p->pid, NULL, WNOHANG) == p->pid)
            return -ETIMEDOUT;
        usleep(20000);
    }
    return 0;
}

int migd_stop(struct migd_process *p, int signal_number)
{
    int status = -1;
    uint64_t end = deadline_in(20 * USEC_PER_SEC);
    if (p->pid <= 0)
        return -1;
    kill(p->pid, signal_number);
    while (waitpid(p->pid, &status, WNOHANG) == 0) {
        if (now_usec() > end) {
            kill(p->pid, SIGKILL);
            waitpid(p->pid, &status, 0);
            break;
        }
        usleep(10000);
    }
    p->pid = -1;
    return status;
}

unsigned process_fds(pid_t pid)
{
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static unsigned long number_in(const char *path, const char *key)
{
    _cleanup_free_ char *text = NULL;
    if (read_file(path, 65536, &text, NULL) < 0)
        return 0;
    size_t n = strlen(key);
    for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            return strtoul(line + n + 1, NULL, 10);
    return 0;
}

unsigned long process_status(pid_t pid, const char *key)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    return number_in(path, key);
}

unsigned long process_sleeps(pid_t pid)
{
    char path[128];
    unsigned long sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", pid, e->d_name);
        sum += number_in(path, "voluntary_ctxt_switches");
    }
    if (d)
        closedir(d);
    return sum;
}

pid_t program_start(const char *const *argv)
{
    return spawn(argv[0], argv, NULL);
}

void program_stop(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = -1;
}

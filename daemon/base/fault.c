/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fault.h"
#include "base/log.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef FAULT_POINTS
static int act(const char *name, const char *action, size_t n)
{
    log_notice("fault point %s: %.*s", name, (int)n, action);
    if (strncmp(action, "kill", n) == 0) {
        raise(SIGKILL);
    } else if (strncmp(action, "stop", n) == 0) {
        raise(SIGSTOP);
    } else if (strncmp(action, "sleep=", 6) == 0) {
        long msec = strtol(action + 6, NULL, 10);
        nanosleep(&(struct timespec){.tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000}, NULL);
    } else if (strncmp(action, "fail", n) == 0) {
        return -EIO;
    }
    return 0;
}

/* What is wanted now: the environment says it, or names a file that may come and go while the daemon runs. */
static const char *read_spec(char *buf, size_t size)
{
    const char *spec = getenv("MIGD_FAULT");
    if (!spec || *spec != '@')
        return spec;
    _cleanup_close_ int fd = open(spec + 1, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);
    buf[MAX(n, 0)] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    return buf;
}

int fault_point(const char *name)
{
    char buf[256];
    const char *spec = read_spec(buf, sizeof buf);
    size_t len = strlen(name);
    while (spec && *spec) {
        size_t item = strcspn(spec, ",");
        if (item > len + 1 && strncmp(spec, name, len) == 0 && spec[len] == ':')
            return act(name, spec + len + 1, item - len - 1);
        spec += item + (spec[item] == ',');
    }
    return 0;
}
#else
typedef int fault_points_are_off; /* an empty translation unit is no C */
#endif

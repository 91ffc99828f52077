/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* simdev: a vfio-user device that really does DMA. This file listens, and ends on SIGTERM and SIGINT. */
#include "base/clock.h"
#include "base/fds.h"
#include "base/log.h"
#include "device.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static int stop_fd = -1;

static void on_signal(int signal_number)
{
    uint64_t one = 1;
    int saved = errno;
    ssize_t r = write(stop_fd, &one, sizeof one);
    (void)r;
    errno = saved;
}

static int set_address(struct sockaddr_un *sa, const char *path)
{
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    return (size_t)snprintf(sa->sun_path, sizeof sa->sun_path, "%s", path) < sizeof sa->sun_path
               ? 0
               : -ENAMETOOLONG;
}

/* A socket that nobody listens on any more is left over from a process that was killed. */
static bool is_stale(const struct sockaddr_un *sa)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0 && errno == ECONNREFUSED;
}

static int listen_on(const char *path, int *ret)
{
    struct sockaddr_un sa;
    int r = set_address(&sa, path);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
    if (r == -EADDRINUSE && is_stale(&sa)) {
        unlink(path);
        r = bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
    }
    if (r == 0 && listen(fd, 4) < 0)
        r = -errno;
    if (r == 0)
        *ret = TAKE_FD(fd);
    return r;
}

static void notify_service_manager(void)
{
    static const char text[] = "READY=1";
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa;
    if (!path || set_address(&sa, path) < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (sa.sun_path[0] == '@')
        sa.sun_path[0] = '\0';
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, text, sizeof text - 1, MSG_NOSIGNAL, (struct sockaddr *)&sa, size) < 0)
        log_warning("cannot tell the service manager: %m");
}

static void say_ready(const struct options *o)
{
    static const char text[] = "READY=1\n";
    if (o->ready_fd >= 0) {
        if (write_full(o->ready_fd, text, sizeof text - 1) < 0)
            log_warning("cannot write to descriptor %d", o->ready_fd);
        close(o->ready_fd);
    }
    if (o->notify)
        notify_service_manager();
}

static int serve(struct device *d, int listen_fd)
{
    for (;;) {
        int r = fd_wait(listen_fd, POLLIN, stop_fd, USEC_INFINITY);
        if (r < 0)
            return r;
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        r = device_serve(d, fd, stop_fd);
        if (r < 0)
            return r;
    }
}

int main(int argc, char **argv)
{
    struct options o;
    int r = options_parse(&o, argc, argv);
    if (r != 0) {
        options_free(&o);
        return r > 0 ? MIGD_EXIT_DONE : MIGD_EXIT_USAGE;
    }
    if (o.verbose)
        log_set_max_level(LOG_DEBUG);
    signal(SIGPIPE, SIG_IGN);
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    struct device *d = calloc(1, sizeof *d);
    struct mig_error err = MIG_ERROR_INIT;
    int listen_fd = -1;
    r = d && stop_fd >= 0 ? device_start(d, &o, &err) : mig_error_oom(&err);
    if (r == 0) {
        r = listen_on(o.socket_path, &listen_fd);
        if (r < 0)
            mig_error_set(&err, MIG_ERR_FAILED, -r, "cannot listen on %s: %s", o.socket_path, strerror(-r));
    }
    if (r == 0) {
        say_ready(&o);
        r = serve(d, listen_fd);
        unlink(o.socket_path);
    }
    if (r < 0 && r != -ECANCELED)
        log_error("simdev: %s", mig_error_is_set(&err) ? err.message : strerror(-r));
    close_fd(&listen_fd);
    if (d)
        device_stop(d);
    free(d);
    options_free(&o);
    return r == -ECANCELED ? MIGD_EXIT_DONE : MIGD_EXIT_FAILED;
}

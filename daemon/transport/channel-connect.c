/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connecting and listening. Runs on workers, except channel_listen: looking a name up may block for as long
 * as the resolver takes and no cancel reaches it; everything after it is bounded by the timeout.
 */
#include "transport/channel.h"
#include "base/clock.h"
#include "base/fds.h"
#include "transport/address.h"
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define LISTEN_BACKLOG 64
#define RETRY_USEC     (10 * USEC_PER_MSEC)

static int resolve(const struct address *a, bool passive, struct addrinfo **ret, struct mig_error *err)
{
    char port[8], text[ADDRESS_TEXT_MAX];
    snprintf(port, sizeof port, "%u", a->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0)};
    int e = getaddrinfo(*a->host ? a->host : NULL, port, &hints, ret);
    if (e == 0)
        return 0;
    address_format(a, text, sizeof text);
    int r = mig_error_set(err, MIG_ERR_PEER_UNREACHABLE, 0, "the host of %s cannot be looked up: %s", text,
                          e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
    mig_error_hint(err, "check the name, or give the address as numbers");
    return r;
}

static int connect_failed(struct mig_error *err, const char *text, int r)
{
    if (r == -ECANCELED)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0, "connecting to %s: cancelled", text);
    enum mig_error_code code = r == -ETIMEDOUT ? MIG_ERR_PEER_TIMEOUT : MIG_ERR_PEER_UNREACHABLE;
    mig_error_set(err, code, -r, "connecting to %s: %s", text, strerror(-r));
    if (r == -ECONNREFUSED || r == -ENOENT)
        mig_error_hint(
            err,
            "nobody listens there: check that migd runs on that host and that its listener is turned on");
    else if (r == -EACCES || r == -EPERM)
        mig_error_hint(err, "the rights of the socket or a firewall rule on this host forbid it");
    else
        mig_error_hint(err, "check the address, the route and the firewalls between the hosts");
    return r;
}

/* One address, until the deadline. */
static int connect_one(int *ret_fd, const struct sockaddr *sa, socklen_t size, uint64_t deadline_usec,
                       int cancel_fd)
{
    _cleanup_close_ int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    while (connect(fd, sa, size) < 0) {
        if (errno == EINPROGRESS || errno == EINTR || errno == EALREADY) {
            int r = fd_wait(fd, POLLOUT, cancel_fd, deadline_usec), e = 0;
            if (r < 0)
                return r;
            if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &(socklen_t){sizeof e}) < 0)
                return -errno;
            if (e)
                return -e;
            break;
        }
        if (errno == EISCONN)
            break;
        if (errno != EAGAIN)
            return -errno;
        /* A UNIX listener whose queue is full: there is nothing to poll for but the clock. */
        uint64_t now = now_usec();
        if (now >= deadline_usec)
            return -ETIMEDOUT;
        struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
        if (poll(&p, 1, deadline_poll_msec(MIN(deadline_usec, now + RETRY_USEC))) > 0)
            return -ECANCELED;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int connect_tcp(int *ret_fd, const struct address *a, struct channel_place *place,
                       uint64_t timeout_usec, int cancel_fd, struct mig_error *err)
{
    char text[ADDRESS_TEXT_MAX];
    address_format(a, text, sizeof text);
    if (!*a->host || a->port == 0) {
        int r = mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, 0, "connecting to %s: the %s is missing", text,
                              *a->host ? "port" : "host");
        mig_error_hint(err, "write host:port");
        return r;
    }
    struct addrinfo *list = NULL;
    int r;
    if (place && place->size) {
        r = connect_one(ret_fd, (struct sockaddr *)&place->address, place->size, deadline_in(timeout_usec),
                        cancel_fd);
        return r < 0 ? connect_failed(err, text, r) : 0;
    }
    r = resolve(a, false, &list, err);
    if (r < 0)
        return r;
    uint64_t deadline = deadline_in(timeout_usec);
    unsigned left = 0;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
        left++;
    r = -EHOSTUNREACH;
    /* Each address gets its share of the time, so that a dead first one leaves some for the next. */
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next, left--) {
        uint64_t now = now_usec();
        uint64_t until =
            deadline == USEC_INFINITY ? deadline : now + (deadline > now ? deadline - now : 0) / left;
        r = connect_one(ret_fd, ai->ai_addr, ai->ai_addrlen, until, cancel_fd);
        if (r == 0 && place && ai->ai_addrlen <= sizeof place->address) {
            memcpy(&place->address, ai->ai_addr, ai->ai_addrlen);
            place->size = ai->ai_addrlen;
        }
        if (r == 0 || r == -ECANCELED)
            break;
    }
    freeaddrinfo(list);
    return r < 0 ? connect_failed(err, text, r) : 0;
}

static struct sockaddr_un unix_address(const struct address *a)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, a->path, strlen(a->path) + 1);
    return sun;
}

int channel_connect_again(struct channel **ret, const char *address, struct channel_place *place,
                          uint64_t timeout_usec, int cancel_fd, struct mig_error *err)
{
    struct address a;
    char text[ADDRESS_TEXT_MAX];
    int r = address_parse(&a, address, err);
    if (r < 0)
        return r;
    address_format(&a, text, sizeof text);
    _cleanup_close_ int fd = -1;
    if (a.is_unix) {
        struct sockaddr_un sun = unix_address(&a);
        r = connect_one(&fd, (struct sockaddr *)&sun, sizeof sun, deadline_in(timeout_usec), cancel_fd);
        if (r < 0)
            return connect_failed(err, text, r);
    } else {
        r = connect_tcp(&fd, &a, place, timeout_usec, cancel_fd, err);
        if (r < 0)
            return r;
    }
    r = channel_from_socket(ret, TAKE_FD(fd), text, cancel_fd);
    return r < 0 ? connect_failed(err, text, r) : 0;
}

static int listen_failed(struct mig_error *err, const char *text, int r)
{
    mig_error_set(err, r == -EADDRINUSE ? MIG_ERR_BUSY : MIG_ERR_FAILED, -r, "listening on %s: %s", text,
                  strerror(-r));
    if (r == -EADDRINUSE)
        mig_error_hint(
            err,
            "another program, maybe another migd, has this address; choose another one in the configuration");
    else if (r == -EADDRNOTAVAIL)
        mig_error_hint(err, "this host has no such address");
    else if (r == -EACCES || r == -EPERM || r == -ENOENT)
        mig_error_hint(err, "check that the folder exists and that migd may write to it");
    return r;
}

static int bound_address(int fd, struct address *a)
{
    struct sockaddr_storage ss = {0};
    char host[NI_MAXHOST], port[8];
    if (getsockname(fd, (struct sockaddr *)&ss, &(socklen_t){sizeof ss}) < 0)
        return -errno;
    a->is_unix = ss.ss_family == AF_UNIX;
    if (a->is_unix) {
        snprintf(a->path, sizeof a->path, "%.107s", ((const struct sockaddr_un *)&ss)->sun_path);
        return 0;
    }
    if (getnameinfo((struct sockaddr *)&ss, sizeof ss, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EAFNOSUPPORT;
    snprintf(a->host, sizeof a->host, "%.*s", (int)sizeof a->host - 1, host);
    a->port = (uint16_t)atoi(port);
    return 0;
}

static int listen_tcp(int *ret_fd, struct address *a, struct mig_error *err)
{
    char text[ADDRESS_TEXT_MAX];
    address_format(a, text, sizeof text);
    struct addrinfo *list = NULL;
    int r = resolve(a, true, &list, err);
    if (r < 0)
        return r;
    r = -EADDRNOTAVAIL;
    _cleanup_close_ int fd = -1;
    /* For "any address" a socket that takes both families is tried first. */
    for (int pass = *a->host ? 1 : 0; pass < 2 && r < 0; pass++) {
        for (const struct addrinfo *ai = list; ai && r < 0; ai = ai->ai_next) {
            if (pass == 0 && ai->ai_family != AF_INET6)
                continue;
            close_fd(&fd);
            fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            int on = 1, only = *a->host != '\0';
            if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
                (ai->ai_family == AF_INET6 &&
                 setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) < 0) ||
                bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
                r = -errno;
            else
                r = 0;
        }
    }
    freeaddrinfo(list);
    if (r < 0)
        return listen_failed(err, text, r);
    r = bound_address(fd, a);
    if (r < 0)
        return listen_failed(err, text, r);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* A socket file whose owner died stays behind: it may go when nobody answers on it. 0: the path is free now.
 */
static int remove_stale(const struct sockaddr_un *sun)
{
    struct stat st;
    if (lstat(sun->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EADDRINUSE;
    _cleanup_close_ int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    if (connect(probe, (const struct sockaddr *)sun, sizeof *sun) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(sun->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int listen_unix(int *ret_fd, const struct address *a, struct mig_error *err)
{
    char text[ADDRESS_TEXT_MAX];
    address_format(a, text, sizeof text);
    struct sockaddr_un sun = unix_address(a);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return listen_failed(err, text, -errno);
    int r = remove_stale(&sun);
    if (r < 0)
        return listen_failed(err, text, r);
    /* The mode of the descriptor becomes the mode of the file that bind makes: there is no moment with wider
     * rights. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sun, sizeof sun) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0)
        return listen_failed(err, text, -errno);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int channel_listen(int *ret_fd, char **ret_bound, const char *address, struct mig_error *err)
{
    struct address a;
    _cleanup_close_ int fd = -1;
    int r = address_parse(&a, address, err);
    if (r == 0)
        r = a.is_unix ? listen_unix(&fd, &a, err) : listen_tcp(&fd, &a, err);
    if (r < 0)
        return r;
    char *bound = malloc(ADDRESS_TEXT_MAX);
    if (!bound)
        return mig_error_oom(err);
    address_format(&a, bound, ADDRESS_TEXT_MAX);
    *ret_fd = TAKE_FD(fd);
    *ret_bound = bound;
    return 0;
}

int channel_listening_address(int fd, char **ret, struct mig_error *err)
{
    struct address a = {0};
    int r = bound_address(fd, &a);
    if (r < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -r, "the address of the listening socket: %s",
                             strerror(-r));
    char *text = malloc(ADDRESS_TEXT_MAX);
    if (!text)
        return mig_error_oom(err);
    address_format(&a, text, ADDRESS_TEXT_MAX);
    *ret = text;
    return 0;
}

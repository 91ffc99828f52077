/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels over stream sockets: TCP and UNIX.
 *
 * The sockets never block by themselves: a call moves what the kernel takes, and waits in poll() for the rest
 * together with the cancel descriptor. So a cancel wakes it at once, and the stall timeout starts anew with
 * every byte that moved. Owns the socket. No locks: the socket is the only thing that both directions share.
 */
#include "transport/channel-private.h"
#include "base/clock.h"
#include "base/fds.h"
#include <limits.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>

/* An idle connection asks every second, so that a network that died is known (link-watch.h) when it is next
 * needed. The kernel itself gives a connection up after USER_TIMEOUT. */
#define KEEPALIVE_IDLE_SEC     1
#define KEEPALIVE_INTERVAL_SEC 1
#define KEEPALIVE_COUNT        10
#define USER_TIMEOUT_MSEC      10000u /* unacknowledged data, and the same span for an idle connection */

static const struct channel_ops tcp_ops, unix_ops;

void channel_consume(struct iovec **iov, int *iovcnt, size_t n)
{
    while (*iovcnt > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*iovcnt)--;
    }
    if (n > 0 && *iovcnt > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

static uint64_t wait_until(const struct channel *c, uint64_t timeout_usec)
{
    uint64_t until = deadline_in(timeout_usec);
    return c->deadline_usec ? MIN(until, c->deadline_usec) : until;
}

/*
 * poll() says that a socket is writable again only when a good part of its buffer is free. A slow peer that
 * does take bytes is not a stalled one, so the timeout counts from the last time the queue became shorter.
 */
int channel_wait_writable(struct channel *c)
{
    int before = -1, now = -1;
    (void)ioctl(c->fd, SIOCOUTQ, &before);
    for (;;) {
        int r = fd_wait(c->fd, POLLOUT, c->cancel_fd, wait_until(c, c->stall_timeout_usec));
        if (r != -ETIMEDOUT || (c->deadline_usec && now_usec() >= c->deadline_usec))
            return MIN(r, 0);
        if (ioctl(c->fd, SIOCOUTQ, &now) < 0 || now == before)
            return -ETIMEDOUT;
        before = now;
    }
}

int channel_wait_readable(struct channel *c, uint64_t timeout_usec)
{
    int r = fd_wait(c->fd, POLLIN, c->cancel_fd, wait_until(c, timeout_usec));
    return r < 0 ? r : 0;
}

int channel_socket_errno(int e)
{
    return e == EPIPE || e == ECONNABORTED ? -ECONNRESET : -e;
}

int channel_socket_sendv(struct channel *c, struct iovec *iov, int iovcnt)
{
    bool more = c->send_more;
    c->send_more = false;
    channel_consume(&iov, &iovcnt, 0);
    while (iovcnt > 0) {
        int now = MIN(iovcnt, IOV_MAX);
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)now};
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | (more || now < iovcnt ? MSG_MORE : 0));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            int r = channel_wait_writable(c);
            if (r < 0)
                return r;
            continue;
        }
        if (n < 0)
            return channel_socket_errno(errno);
        atomic_fetch_add_explicit(&c->sent_bytes, (uint64_t)n, memory_order_relaxed);
        channel_consume(&iov, &iovcnt, (size_t)n);
    }
    return 0;
}

static int send_file_part(struct channel *c, int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
    off_t offset = (off_t)offset_bytes;
    for (uint64_t left = size_bytes; left > 0;) {
        size_t now = (size_t)MIN(left, UINT64_C(1) << 30);
        ssize_t n = sendfile(c->fd, fd, &offset, now);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EINVAL || errno == ENOSYS) && left == size_bytes)
            return -EOPNOTSUPP;
        if (n < 0 && errno != EAGAIN)
            return channel_socket_errno(errno);
        if (n == 0)
            return -ENODATA; /* the file became shorter */
        if (n > 0) {
            atomic_fetch_add_explicit(&c->sent_bytes, (uint64_t)n, memory_order_relaxed);
            left -= (uint64_t)n;
        }
        /* Less than was asked for means full. Trying again would collect pages only to let go of them. */
        int r = n < (ssize_t)now ? channel_wait_writable(c) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* sendfile() has no MSG_NOSIGNAL: the signal of a closed peer is held back and, when it came from here, taken
 * off. */
int channel_socket_send_file(struct channel *c, int fd, uint64_t offset_bytes, uint64_t size_bytes)
{
    sigset_t pipe_set, old, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    int r = send_file_part(c, fd, offset_bytes, size_bytes);
    if (!sigismember(&old, SIGPIPE)) {
        if (r == -ECONNRESET && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE))
            while (sigtimedwait(&pipe_set, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
                ;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    return r;
}

void channel_set_low_mark(struct channel *c, int *mark, uint64_t wanted_bytes)
{
    int value = (int)MIN(wanted_bytes, (uint64_t)CHANNEL_LOW_MARK_MAX);
    if (value < CHANNEL_LOW_MARK_MAX / 4)
        value = 1;
    if (value != *mark && setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value) == 0)
        *mark = value;
}

int channel_wait_for_more(struct channel *c, int *mark, uint64_t wanted_bytes)
{
    int before = 0, now = 0;
    channel_set_low_mark(c, mark, wanted_bytes);
    (void)ioctl(c->fd, SIOCINQ, &before);
    for (;;) {
        int r = channel_wait_readable(c, c->stall_timeout_usec);
        if (r != -ETIMEDOUT || *mark == 1)
            return r;
        /* Fewer bytes than the mark are no stall as long as they become more. */
        if (ioctl(c->fd, SIOCINQ, &now) < 0 || now == before)
            return -ETIMEDOUT;
        before = now;
    }
}

static int recv_pieces(struct channel *c, struct iovec *iov, int iovcnt, int *mark)
{
    bool started = false;
    channel_consume(&iov, &iovcnt, 0);
    while (iovcnt > 0) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)MIN(iovcnt, IOV_MAX)};
        ssize_t n = recvmsg(c->fd, &msg, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            uint64_t wanted = 0;
            for (int i = 0; c->ops == &tcp_ops && i < iovcnt && wanted < CHANNEL_LOW_MARK_MAX; i++)
                wanted += iov[i].iov_len;
            int r = channel_wait_for_more(c, mark, wanted);
            if (r < 0)
                return r;
            continue;
        }
        if (n < 0)
            return channel_socket_errno(errno);
        if (n == 0)
            return started ? -ECONNRESET : -EPIPE;
        started = true;
        atomic_fetch_add_explicit(&c->received_bytes, (uint64_t)n, memory_order_relaxed);
        channel_consume(&iov, &iovcnt, (size_t)n);
    }
    return 0;
}

static int socket_recvv(struct channel *c, struct iovec *iov, int iovcnt)
{
    int mark = 1;
    int r = recv_pieces(c, iov, iovcnt, &mark);
    if (mark != 1)
        channel_set_low_mark(c, &mark, 0);
    return r;
}

static void socket_shutdown(struct channel *c)
{
    shutdown(c->fd, SHUT_RDWR);
}

static void socket_destroy(struct channel *c)
{
    close_fd(&c->fd);
    free(c);
}

static const struct channel_ops tcp_ops = {
    .kind = "tcp",
    .sendv = channel_socket_sendv,
    .send_file = channel_socket_send_file,
    .recvv = socket_recvv,
    .wait_readable = channel_wait_readable,
    .shutdown = socket_shutdown,
    .destroy = socket_destroy,
};
static const struct channel_ops unix_ops = {
    .kind = "unix",
    .sendv = channel_socket_sendv,
    .send_file = channel_socket_send_file,
    .recvv = socket_recvv,
    .wait_readable = channel_wait_readable,
    .shutdown = socket_shutdown,
    .destroy = socket_destroy,
};

static int set_tcp_options(int fd)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SEC},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SEC},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MSEC},
    };
    for (size_t i = 0; i < ELEMENTS(options); i++)
        if (setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int)) < 0)
            return -errno;
    return 0;
}

/* Both ends have one address: the bytes never leave this host. */
static bool ends_are_local(int fd)
{
    struct sockaddr_in6 here, there;
    socklen_t here_size = sizeof here, there_size = sizeof there;
    if (getsockname(fd, (struct sockaddr *)&here, &here_size) < 0 ||
        getpeername(fd, (struct sockaddr *)&there, &there_size) < 0 || here.sin6_family != there.sin6_family)
        return false;
    if (here.sin6_family == AF_INET)
        return ((struct sockaddr_in *)&here)->sin_addr.s_addr ==
               ((struct sockaddr_in *)&there)->sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&here.sin6_addr, &there.sin6_addr);
}

static void name_peer(struct channel *c, const char *peer)
{
    struct sockaddr_storage ss;
    socklen_t size = sizeof ss;
    char host[INET6_ADDRSTRLEN + 20], port[8];
    if (peer) {
        snprintf(c->peer, sizeof c->peer, "%s", peer);
    } else if (getpeername(c->fd, (struct sockaddr *)&ss, &size) == 0 && ss.ss_family != AF_UNIX &&
               getnameinfo((struct sockaddr *)&ss, size, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(c->peer, sizeof c->peer, ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    } else {
        snprintf(c->peer, sizeof c->peer, "the local peer");
    }
}

int channel_from_socket(struct channel **ret, int socket_fd, const char *peer, int cancel_fd)
{
    _cleanup_close_ int fd = socket_fd;
    int domain, r = fd_set_nonblock(fd, true);
    if (r < 0)
        return r;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){sizeof domain}) < 0)
        return -errno;
    bool tcp = domain == AF_INET || domain == AF_INET6;
    if (!tcp && domain != AF_UNIX)
        return -EAFNOSUPPORT;
    if (tcp && (r = set_tcp_options(fd)) < 0)
        return r;
    struct channel *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->ops = tcp ? &tcp_ops : &unix_ops;
    c->fd = TAKE_FD(fd);
    c->cancel_fd = cancel_fd;
    c->local = !tcp || ends_are_local(c->fd);
    c->stall_timeout_usec = CHANNEL_STALL_TIMEOUT_USEC;
    name_peer(c, peer);
    *ret = c;
    return 0;
}

int channel_error(const struct channel *c, int r, struct mig_error *err, const char *what)
{
    switch (-r) {
    case ECANCELED:
        mig_error_set(err, MIG_ERR_CANCELLED, -r, "%s: cancelled", what);
        break;
    case ETIMEDOUT:
    case ETIME:
        mig_error_set(err, MIG_ERR_PEER_TIMEOUT, -r, "%s: nothing moved between here and %s for %llu s", what,
                      c->peer, (unsigned long long)(c->stall_timeout_usec / USEC_PER_SEC));
        mig_error_hint(err, "check the link, and that migd at %s is alive", c->peer);
        break;
    case ENODATA:
        mig_error_set(err, MIG_ERR_FAILED, -r, "%s: the file became shorter while it was sent", what);
        break;
    case ENOMEM:
    case ENOBUFS:
        mig_error_set(err, MIG_ERR_NO_MEMORY, -r, "%s: no memory for the connection with %s", what, c->peer);
        break;
    case EKEYEXPIRED:
        mig_error_set(err, MIG_ERR_PEER_LOST, -r,
                      "%s: the key of the connection with %s has encrypted as much as is safe", what,
                      c->peer);
        mig_error_hint(err,
                       "let connections be made anew: a --reconnect-timeout above 0, and a migd at %s that "
                       "knows it",
                       c->peer);
        break;
    case EPIPE:
    case ECONNRESET:
        mig_error_set(err, MIG_ERR_PEER_LOST, ECONNRESET, "%s: %s closed the connection", what, c->peer);
        mig_error_hint(err, "the log of migd at %s says why", c->peer);
        break;
    default:
        mig_error_set(err, MIG_ERR_PEER_LOST, -r, "%s: the connection with %s failed: %s", what, c->peer,
                      strerror(-r));
        mig_error_hint(err, "check the link, and that migd at %s is alive", c->peer);
    }
    return r;
}

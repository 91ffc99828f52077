/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmm/qmp.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/printable.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LINE_MAX_BYTES ((size_t)4 << 20)
#define DEPTH_MAX      32

struct qmp {
    int fd;
    pid_t pid;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    char *buffer; /* room for LINE_MAX_BYTES; begun holds what came after the last whole line */
    size_t begun;
};

struct qmp *qmp_free(struct qmp *q)
{
    if (q) {
        close_fd(&q->fd);
        free(q->buffer);
    }
    free(q);
    return NULL;
}

pid_t qmp_pid(const struct qmp *q)
{
    return q->pid;
}

const char *qmp_path(const struct qmp *q)
{
    return q->path;
}

static int lost(const struct qmp *q, int r, const char *what, struct mig_error *err)
{
    if (r == -ETIMEDOUT) {
        mig_error_set(err, MIG_ERR_CONTROLLER_TIMEOUT, 0, "QEMU at %s did not answer %s in time", q->path,
                      what);
        mig_error_hint(err, "a monitor serves one client at a time: is another connected to this one?");
    } else if (r == -EPIPE || r == -ECONNRESET) {
        mig_error_set(err, MIG_ERR_CONTROLLER, -r, "QEMU at %s closed the connection during %s", q->path,
                      what);
        mig_error_hint(err, "see QEMU's own log for why it ended");
    } else {
        mig_error_set(err, MIG_ERR_CONTROLLER, -r, "QEMU at %s: %s: %s", q->path, what, strerror(-r));
    }
    return r;
}

/* ---- lines ---- */

static int send_line(struct qmp *q, const char *line, size_t size, int fd, uint64_t deadline_usec)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    while (size > 0) {
        struct iovec iov = {(char *)line, size};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
        if (fd >= 0) {
            m.msg_control = control.bytes;
            m.msg_controllen = sizeof control.bytes;
            struct cmsghdr *c = CMSG_FIRSTHDR(&m);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &fd, sizeof fd);
        }
        ssize_t n = sendmsg(q->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n > 0) {
            line += n;
            size -= (size_t)n;
            fd = -1; /* it went with the first byte */
            continue;
        }
        int r = fd_wait(q->fd, POLLOUT, -1, deadline_usec);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The next whole line, which stays in the buffer until the next call. */
static int read_line(struct qmp *q, uint64_t deadline_usec, size_t *consumed)
{
    for (;;) {
        char *end = memchr(q->buffer, '\n', q->begun);
        if (end) {
            *end = '\0';
            *consumed = (size_t)(end - q->buffer) + 1;
            return 0;
        }
        if (q->begun == LINE_MAX_BYTES)
            return -EMSGSIZE;
        int r = fd_wait(q->fd, POLLIN, -1, deadline_usec);
        if (r < 0)
            return r;
        ssize_t n = recv(q->fd, q->buffer + q->begun, LINE_MAX_BYTES - q->begun, MSG_DONTWAIT);
        if (n == 0)
            return -EPIPE;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        q->begun += n > 0 ? (size_t)n : 0;
    }
}

static int read_object(struct qmp *q, uint64_t deadline_usec, const char *what, struct json_object **ret,
                       struct mig_error *err)
{
    size_t consumed = 0;
    int r = read_line(q, deadline_usec, &consumed);
    if (r < 0)
        return lost(q, r, what, err);
    struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);
    struct json_object *o = t ? json_tokener_parse_ex(t, q->buffer, (int)consumed - 1) : NULL;
    json_tokener_free(t);
    memmove(q->buffer, q->buffer + consumed, q->begun - consumed);
    q->begun -= consumed;
    if (!json_object_is_type(o, json_type_object)) {
        json_object_put(o);
        mig_error_set(err, MIG_ERR_CONTROLLER, EPROTO, "what answers at %s does not speak QMP", q->path);
        mig_error_hint(err, "name the socket of -qmp unix:PATH,server=on,wait=off, not of the human monitor");
        return -EPROTO;
    }
    *ret = o;
    return 0;
}

/* ---- commands ---- */

/* QEMU's words may quote the guest's. */
static int refused(const struct qmp *q, const char *command, struct json_object *error, struct mig_error *err)
{
    const char *text = json_text_or_null(error, "desc");
    int r = mig_error_set(err, MIG_ERR_CONTROLLER, 0, "QEMU at %s refuses %s: %.300s", q->path, command,
                          text ? text : "(no reason)");
    make_printable(err ? err->message : (char[1]){""});
    return r;
}

struct json_object *qmp_argument(const char *key, const char *value)
{
    struct json_object *o = json_object_new_object();
    if (o && json_add_string(o, key, value) < 0) {
        json_object_put(o);
        return NULL;
    }
    return o;
}

int qmp_call(struct qmp *q, const char *command, struct json_object *arguments, int fd,
             uint64_t deadline_usec, struct json_object **ret, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *o = json_object_new_object();
    if (!o || json_add_string(o, "execute", command) < 0) {
        json_object_put(arguments);
        return mig_error_oom(err);
    }
    if (arguments && json_add(o, "arguments", arguments) < 0)
        return mig_error_oom(err);
    size_t size;
    const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &size);
    int r = text ? send_line(q, text, size, fd, deadline_usec) : -ENOMEM;
    if (r == 0)
        r = send_line(q, "\n", 1, -1, deadline_usec);
    if (r < 0)
        return lost(q, r, command, err);
    for (;;) {
        _cleanup_(json_object_putp) struct json_object *answer = NULL;
        struct json_object *value;
        r = read_object(q, deadline_usec, command, &answer, err);
        if (r < 0)
            return r;
        if (json_object_object_get_ex(answer, "error", &value))
            return refused(q, command, value, err);
        if (json_object_object_get_ex(answer, "return", &value)) {
            if (ret)
                *ret = json_object_get(value);
            return 0;
        } /* else an event */
    }
}

int qmp_human(struct qmp *q, const char *line, uint64_t deadline_usec, char **ret, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *answer = NULL;
    struct json_object *o = json_object_new_object();
    if (!o || json_add_string(o, "command-line", line) < 0) {
        json_object_put(o);
        return mig_error_oom(err);
    }
    int r = qmp_call(q, "human-monitor-command", o, -1, deadline_usec, &answer, err);
    if (r < 0)
        return r;
    const char *text = json_object_is_type(answer, json_type_string) ? json_object_get_string(answer) : "";
    *ret = strdup(text);
    return *ret ? 0 : mig_error_oom(err);
}

/* ---- the connection ---- */

static int connect_to(struct qmp *q, uint64_t deadline_usec)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, q->path, sizeof a.sun_path);
    q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (q->fd < 0)
        return -errno;
    /* A UNIX socket whose backlog is full says EAGAIN: QEMU has a backlog of one. */
    while (connect(q->fd, (const struct sockaddr *)&a, sizeof a) < 0) {
        if (errno != EAGAIN)
            return -errno;
        if (now_usec() >= deadline_usec)
            return -ETIMEDOUT;
        fd_wait(-1, 0, -1, MIN(deadline_usec, deadline_in(5 * USEC_PER_MSEC)));
    }
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return -errno;
    q->pid = who.pid;
    return 0;
}

static int greet(struct qmp *q, uint64_t deadline_usec, struct mig_error *err)
{
    _cleanup_(json_object_putp) struct json_object *greeting = NULL;
    int r = read_object(q, deadline_usec, "its greeting", &greeting, err);
    if (r < 0)
        return r;
    if (!json_object_object_get_ex(greeting, "QMP", NULL))
        return mig_error_set(err, MIG_ERR_CONTROLLER, EPROTO, "what answers at %s does not greet as QMP does",
                             q->path);
    return qmp_call(q, "qmp_capabilities", NULL, -1, deadline_usec, NULL, err);
}

int qmp_open(struct qmp **ret, const char *path, uint64_t deadline_usec, struct mig_error *err)
{
    _cleanup_(qmp_freep) struct qmp *q = calloc(1, sizeof *q);
    if (!q || !(q->buffer = malloc(LINE_MAX_BYTES))) {
        if (q)
            q->fd = -1;
        return mig_error_oom(err);
    }
    q->fd = -1;
    if (strlen(path) >= sizeof q->path || !*path)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ENAMETOOLONG,
                             "the path of QEMU's monitor is empty or longer than %zu bytes",
                             sizeof q->path - 1);
    snprintf(q->path, sizeof q->path, "%s", path);
    int r = connect_to(q, deadline_usec);
    if (r < 0) {
        mig_error_set(err, MIG_ERR_CONTROLLER, -r, "cannot connect to QEMU's monitor at %s: %s", path,
                      r == -ETIMEDOUT ? "it is busy with another client" : strerror(-r));
        mig_error_hint(err, "start QEMU with -qmp unix:%s,server=on,wait=off, for migd alone", path);
        return r;
    }
    r = greet(q, deadline_usec, err);
    if (r == 0)
        *ret = TAKE_PTR(q);
    return r;
}

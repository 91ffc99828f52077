/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Channels over socketpairs, UNIX and loopback TCP sockets: bytes arrive, cancels and ends wake, stalls end.
 */
#include "transport/channel.h"
#include "base/clock.h"
#include "base/fds.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

enum link { PAIR, UNIX, TCP, LINKS };

struct ends {
    struct channel *a, *b;
    int cancel;
};

static char scratch[64];

static void connect_ends(struct ends *e, enum link link)
{
    *e = (struct ends){.cancel = eventfd(0, EFD_CLOEXEC)};
    assert_true(e->cancel >= 0);
    if (link == PAIR) {
        int sv[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
        assert_int_equal(channel_from_socket(&e->a, sv[0], "peer-a", e->cancel), 0);
        assert_int_equal(channel_from_socket(&e->b, sv[1], NULL, e->cancel), 0);
        return;
    }
    char where[128];
    snprintf(where, sizeof where, "unix:%s/listen", scratch);
    _cleanup_close_ int listener = -1;
    _cleanup_free_ char *bound = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(channel_listen(&listener, &bound, link == UNIX ? where : "127.0.0.1:0", &err), 0);
    assert_int_equal(channel_connect(&e->a, bound, USEC_PER_SEC, e->cancel, &err), 0);
    assert_string_equal(e->a->peer, bound);
    assert_true(fd_wait(listener, POLLIN, -1, deadline_in(USEC_PER_SEC)) > 0);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(channel_from_socket(&e->b, fd, NULL, e->cancel), 0);
    assert_string_equal(e->b->ops->kind, link == UNIX ? "unix" : "tcp");
    if (link == TCP)
        assert_true(strncmp(e->b->peer, "127.0.0.1:", 10) == 0);
}

static void drop_ends(struct ends *e)
{
    e->a = channel_free(e->a);
    e->b = channel_free(e->b);
    close_fd(&e->cancel);
}

#define BULK   (3u << 20)
#define PIECES 1500

struct sending {
    struct channel *c;
    int fd; /* -1: from memory */
    const uint8_t *data;
    int result;
};

static void *send_bulk(void *p)
{
    struct sending *s = p;
    if (s->fd >= 0) {
        s->result = s->c->ops->send_file(s->c, s->fd, 4096, BULK - 4096);
        return NULL;
    }
    static _Thread_local struct iovec iov[PIECES];
    for (int i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){(uint8_t *)s->data + BULK / PIECES * i, i == 7 ? 0 : BULK / PIECES};
    s->result = s->c->ops->sendv(s->c, iov, PIECES);
    return NULL;
}

static void test_bytes_arrive(void **state)
{
    uint8_t *in = malloc(BULK), *out = malloc(BULK);
    _cleanup_close_ int fd = memfd_create("bulk", MFD_CLOEXEC);
    for (size_t i = 0; i < BULK; i++)
        in[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(write_full(fd, in, BULK), 0);
    for (enum link link = PAIR; link < LINKS; link++) {
        for (int file = 0; file < 2; file++) {
            struct ends e;
            connect_ends(&e, link);
            memset(out, 0, BULK);
            struct sending s = {.c = e.a, .fd = file ? fd : -1, .data = in};
            pthread_t thread;
            assert_int_equal(pthread_create(&thread, NULL, send_bulk, &s), 0);
            size_t piece = BULK / PIECES;
            size_t size = file ? BULK - 4096 : piece * PIECES - piece;
            struct iovec iov[3] = {{out, 5}, {NULL, 0}, {out + 5, size - 5}};
            assert_int_equal(e.b->ops->recvv(e.b, iov, 3), 0);
            pthread_join(thread, NULL);
            assert_int_equal(s.result, 0);
            assert_int_equal(e.a->sent_bytes, size);
            assert_int_equal(e.b->received_bytes, size);
            if (file) {
                assert_memory_equal(out, in + 4096, size);
            } else {
                assert_memory_equal(out, in, piece * 7);
                assert_memory_equal(out + piece * 7, in + piece * 8, size - piece * 7);
            }
            drop_ends(&e);
        }
    }
    free(in);
    free(out);
}

struct waiter {
    struct channel *c;
    bool send;
    int result;
    uint64_t usec;
};

static void *wait_blocked(void *p)
{
    struct waiter *w = p;
    uint64_t start = now_usec();
    static _Thread_local char buf[1 << 16];
    do {
        struct iovec iov = {buf, w->send ? sizeof buf : 8};
        w->result = w->send ? w->c->ops->sendv(w->c, &iov, 1) : w->c->ops->recvv(w->c, &iov, 1);
    } while (w->result == 0);
    w->usec = now_usec() - start;
    return NULL;
}

static void test_cancel_wakes(void **state)
{
    for (enum link link = PAIR; link < LINKS; link++) {
        struct ends e;
        connect_ends(&e, link);
        struct waiter w[2] = {{.c = e.a, .send = true}, {.c = e.a}};
        pthread_t t[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&t[i], NULL, wait_blocked, &w[i]), 0);
        usleep(50000);
        uint64_t start = now_usec();
        eventfd_write(e.cancel, 1);
        for (int i = 0; i < 2; i++) {
            pthread_join(t[i], NULL);
            assert_int_equal(w[i].result, -ECANCELED);
        }
        assert_true(now_usec() - start < 30 * USEC_PER_SEC);
        drop_ends(&e);
    }
}

/* An administrator's `ss -K` must look like a broken connection, and never like a peer that gave up: that is
 * what ECONNABORTED means further up. */
static void test_a_killed_connection_is_a_broken_one(void **state)
{
    struct ends e;
    struct sockaddr_in sin;
    char command[128], byte;
    connect_ends(&e, TCP);
    assert_int_equal(getsockname(e.a->fd, (struct sockaddr *)&sin, &(socklen_t){sizeof sin}), 0);
    snprintf(command, sizeof command, "ss -K -tn src 127.0.0.1 sport = :%u >/dev/null 2>&1",
             ntohs(sin.sin_port));
    int gone = system(command);
    e.a->stall_timeout_usec = 500000;
    struct iovec iov = {&byte, 1};
    int r = e.a->ops->recvv(e.a, &iov, 1);
    drop_ends(&e);
    if (gone != 0 || r == -ETIMEDOUT)
        skip(); /* no such tool, right or kernel */
    assert_int_equal(r, -ECONNRESET);
}

static void test_stall_ends(void **state)
{
    for (enum link link = PAIR; link < LINKS; link++) {
        for (int send = 0; send < 2; send++) {
            struct ends e;
            connect_ends(&e, link);
            e.a->stall_timeout_usec = 100000;
            struct waiter w = {.c = e.a, .send = send};
            wait_blocked(&w);
            assert_int_equal(w.result, -ETIMEDOUT);
            assert_true(w.usec >= 100000 && w.usec < 30 * USEC_PER_SEC);
            struct mig_error err = MIG_ERROR_INIT;
            assert_int_equal(channel_error(e.a, w.result, &err, "sending"), -ETIMEDOUT);
            assert_int_equal(err.code, MIG_ERR_PEER_TIMEOUT);
            assert_non_null(strstr(err.message, e.a->peer));
            drop_ends(&e);
        }
    }
}

/* A peer that takes a little now and then is slow, not stalled. */
static void *sip(void *p)
{
    struct channel *c = p;
    static char buf[64 << 10];
    for (int i = 0; i < 12; i++) {
        usleep(60000);
        struct iovec iov = {buf, sizeof buf};
        if (c->ops->recvv(c, &iov, 1) < 0)
            break;
    }
    c->ops->shutdown(c);
    return NULL;
}

static void test_slow_is_not_stalled(void **state)
{
    struct ends e;
    connect_ends(&e, PAIR);
    e.a->stall_timeout_usec = 400000;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, sip, e.b), 0);
    struct waiter w = {.c = e.a, .send = true};
    wait_blocked(&w);
    assert_int_equal(w.result, -ECONNRESET);
    assert_true(w.usec >= 600000);
    pthread_join(t, NULL);
    drop_ends(&e);
}

static void test_close(void **state)
{
    _cleanup_close_ int fd = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    for (enum link link = PAIR; link < LINKS; link++) {
        struct ends e;
        char buf[16];
        connect_ends(&e, link);
        struct iovec iov = {buf, 3};
        assert_int_equal(e.b->ops->sendv(e.b, &iov, 1), 0);
        e.b = channel_free(e.b);
        iov = (struct iovec){buf, 8};
        assert_int_equal(e.a->ops->recvv(e.a, &iov, 1), -ECONNRESET); /* in the middle */
        iov = (struct iovec){buf, 8};
        assert_int_equal(e.a->ops->recvv(e.a, &iov, 1), -EPIPE);
        /* Neither way of sending to a closed peer kills the process, whose SIGPIPE is as it was born. */
        int r = 0;
        for (int i = 0; i < 100 && r == 0; i++)
            r = e.a->ops->send_file(e.a, fd, 0, 1 << 20);
        assert_int_equal(r, -ECONNRESET);
        iov = (struct iovec){buf, 8};
        assert_int_equal(e.a->ops->sendv(e.a, &iov, 1), -ECONNRESET);
        sigset_t pending;
        sigpending(&pending);
        assert_false(sigismember(&pending, SIGPIPE));
        drop_ends(&e);
    }
}

static void test_shutdown_wakes(void **state)
{
    struct ends e;
    connect_ends(&e, TCP);
    struct waiter w = {.c = e.a};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, wait_blocked, &w), 0);
    usleep(30000);
    e.a->ops->shutdown(e.a);
    pthread_join(t, NULL);
    assert_int_equal(w.result, -EPIPE);
    drop_ends(&e);
}

static void test_file_ends(void **state)
{
    _cleanup_close_ int fd = memfd_create("short", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 4096), 0);
    struct ends e;
    connect_ends(&e, TCP);
    assert_int_equal(e.a->ops->send_file(e.a, fd, 0, 8192), -ENODATA);
    drop_ends(&e);
}

static void test_connect_errors(void **state)
{
    struct channel *c = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    /* A port that was free a moment ago. */
    int listener = -1;
    char *bound = NULL;
    assert_int_equal(channel_listen(&listener, &bound, "127.0.0.1:0", NULL), 0);
    close_fd(&listener);
    assert_int_equal(channel_connect(&c, bound, USEC_PER_SEC, -1, &err), -ECONNREFUSED);
    assert_int_equal(err.code, MIG_ERR_PEER_UNREACHABLE);
    assert_non_null(strstr(err.message, bound));
    assert_true(err.hint[0] != '\0');
    free(bound);
    assert_int_equal(channel_connect(&c, "unix:/nonexistent/migd", USEC_PER_SEC, -1, &err), -ENOENT);
    assert_non_null(strstr(err.message, "/nonexistent/migd"));
    assert_int_equal(channel_connect(&c, ":1", USEC_PER_SEC, -1, &err), -EINVAL);
    assert_int_equal(channel_connect(&c, "127.0.0.1:0", USEC_PER_SEC, -1, &err), -EINVAL);
    assert_null(c);

    /* A listener that never accepts and whose queue is full: the timeout and the cancel end the attempt. */
    char where[128];
    snprintf(where, sizeof where, "%s/full", scratch);
    _cleanup_close_ int full = -1;
    assert_int_equal(channel_listen(&full, &bound, where, NULL), 0);
    free(bound);
    assert_int_equal(listen(full, 0), 0);
    struct channel *first = NULL;
    assert_int_equal(channel_connect(&first, where, USEC_PER_SEC, -1, &err), 0);
    uint64_t start = now_usec();
    assert_int_equal(channel_connect(&c, where, 100000, -1, &err), -ETIMEDOUT);
    assert_true(now_usec() - start >= 100000);
    _cleanup_close_ int cancel = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(channel_connect(&c, where, 5 * USEC_PER_SEC, cancel, &err), -ECANCELED);
    assert_int_equal(err.code, MIG_ERR_CANCELLED);
    channel_free(first);
}

/* Who connects again goes where it was before, whatever the name leads to by now. */
static void test_connect_again(void **state)
{
    struct channel *c = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    struct channel_place place = {0};
    _cleanup_close_ int listener = -1;
    _cleanup_free_ char *bound = NULL;
    assert_int_equal(channel_listen(&listener, &bound, "127.0.0.1:0", NULL), 0);
    assert_true(channel_connect_again(&c, "nobody.invalid:1", &place, USEC_PER_SEC, -1, &err) < 0);
    assert_int_equal(place.size, 0);
    assert_int_equal(channel_connect_again(&c, bound, &place, USEC_PER_SEC, -1, &err), 0);
    assert_int_equal(place.size, sizeof(struct sockaddr_in));
    c = channel_free(c);
    char gone[64];
    snprintf(gone, sizeof gone, "nobody.invalid%s", strrchr(bound, ':'));
    assert_int_equal(channel_connect_again(&c, gone, &place, USEC_PER_SEC, -1, &err), 0);
    assert_string_equal(c->peer, gone);
    c = channel_free(c);
    for (int i = 0; i < 2; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(fd >= 0);
        close(fd);
    }
    close_fd(&listener);
    assert_int_equal(channel_connect_again(&c, gone, &place, USEC_PER_SEC, -1, &err), -ECONNREFUSED);
    assert_non_null(strstr(err.message, gone));
}

static void test_listen_unix(void **state)
{
    char where[128];
    snprintf(where, sizeof where, "%s/sock", scratch);
    int first = -1, second = -1;
    char *bound = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(channel_listen(&first, &bound, where, &err), 0);
    struct stat st;
    assert_int_equal(stat(where, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(bound);
    /* Somebody answers: it stays. */
    assert_int_equal(channel_listen(&second, &bound, where, &err), -EADDRINUSE);
    assert_int_equal(err.code, MIG_ERR_BUSY);
    /* Nobody answers: it is replaced. */
    close_fd(&first);
    assert_int_equal(channel_listen(&second, &bound, where, &err), 0);
    free(bound);
    close_fd(&second);
    unlink(where);
    /* What is no socket is never removed. */
    close(open(where, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(channel_listen(&second, &bound, where, &err), -EADDRINUSE);
    assert_int_equal(stat(where, &st), 0);
    unlink(where);
}

static void test_listen_tcp(void **state)
{
    _cleanup_close_ int first = -1, second = -1, third = -1;
    _cleanup_free_ char *bound = NULL, *again = NULL, *any = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(channel_listen(&first, &bound, "127.0.0.1:0", &err), 0);
    assert_true(strncmp(bound, "127.0.0.1:", 10) == 0 && strcmp(bound + 10, "0") != 0);
    assert_int_equal(channel_listen(&second, &again, bound, &err), -EADDRINUSE);
    assert_non_null(strstr(err.message, bound));
    assert_int_equal(channel_listen(&third, &any, ":0", &err), 0);
    struct channel *c = NULL;
    char to[64];
    snprintf(to, sizeof to, "127.0.0.1%s", strrchr(any, ':'));
    assert_int_equal(channel_connect(&c, to, USEC_PER_SEC, -1, &err), 0);
    channel_free(c);
}

static void test_wrong_sockets(void **state)
{
    struct channel *c = NULL;
    assert_int_equal(channel_from_socket(&c, memfd_create("x", MFD_CLOEXEC), NULL, -1), -ENOTSOCK);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_arrive),
        cmocka_unit_test(test_cancel_wakes),
        cmocka_unit_test(test_stall_ends),
        cmocka_unit_test(test_slow_is_not_stalled),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_shutdown_wakes),
        cmocka_unit_test(test_file_ends),
        cmocka_unit_test(test_connect_errors),
        cmocka_unit_test(test_connect_again),
        cmocka_unit_test(test_listen_unix),
        cmocka_unit_test(test_listen_tcp),
        cmocka_unit_test(test_wrong_sockets),
        cmocka_unit_test(test_a_killed_connection_is_a_broken_one),
    };
    alarm(60);
    snprintf(scratch, sizeof scratch, "/tmp/migd-channel-XXXXXX");
    if (!mkdtemp(scratch))
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    const char *const names[] = {"listen", "full", "sock"};
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        snprintf(command, sizeof command, "%s/%s", scratch, names[i]);
        unlink(command);
    }
    rmdir(scratch);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The uffd tracker against a real process: a child makes a userfaultfd and maps a memfd, passes the
 * userfaultfd over a socket, and writes what it is told to. Skipped only where the kernel cannot do
 * asynchronous write protection.
 */
#include "base/clock.h"
#include "dirty/harvest.h"
#include "dirty/uffd-uapi.h"
#include "test-random.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

enum { PAGES = 8192, LEAD_PAGES = 3 };
#define BYTES ((size_t)PAGES * 4096)

enum order { WRITE_PAGE, WRITE_EVERY_SECOND, DROP_PAGE, REPLACE, EXEC, QUIT, WRITE_ON, STAND_STILL };
struct message {
    enum order order;
    uint64_t value;
};

struct child {
    pid_t pid;
    int socket, memfd, uffd;
    uint64_t address;
};

static int make_uffd(uint64_t features)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) < 0)
        close_fd(&fd);
    return fd;
}

static void send_fd(int socket, int fd, uint64_t address)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {&address, sizeof address};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    if (sendmsg(socket, &msg, 0) < 0)
        _exit(3);
}

static int receive_fd(int socket, uint64_t *address)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {address, sizeof *address};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fd = -1;
    assert_int_equal(recvmsg(socket, &msg, MSG_CMSG_CLOEXEC), sizeof *address);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof fd);
    return fd;
}

/* Until the next message comes. */
static void write_on(uint8_t *map, int socket)
{
    struct rnd rnd = {77};
    struct message m;
    for (uint64_t i = 0; i % 64 || recv(socket, &m, sizeof m, MSG_DONTWAIT | MSG_PEEK) < 0; i++) {
        uint64_t *p = (uint64_t *)(map + rnd_below(&rnd, PAGES) * 4096 + rnd_below(&rnd, 512) * 8);
        *(volatile uint64_t *)p = rnd_next(&rnd);
    }
}

static void child_main(int socket, int memfd, uint64_t features)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint8_t *map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, LEAD_PAGES * 4096);
    int uffd = make_uffd(features);
    if (uffd < 0 || map == MAP_FAILED)
        _exit(2);
    send_fd(socket, uffd, (uintptr_t)map);
    struct message m;
    uint8_t value = 0;
    while (recv(socket, &m, sizeof m, 0) == sizeof m) {
        value++;
        switch (m.order) {
        case WRITE_PAGE:
            map[m.value * 4096 + m.value % 4096] = value;
            break;
        case WRITE_EVERY_SECOND:
            for (unsigned i = 0; i < PAGES; i += 2)
                map[i * 4096] = value;
            break;
        case DROP_PAGE: /* out of the page table, not out of the file */
            madvise(map + m.value * 4096, 4096, MADV_DONTNEED);
            break;
        case REPLACE:
            mmap(map, BYTES / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memfd, LEAD_PAGES * 4096);
            break;
        case WRITE_ON:
            write_on(map, socket);
            break;
        case STAND_STILL:
            break;
        case EXEC:
            execl("/bin/cat", "cat", NULL); /* waits on the stdin that it got */
            _exit(4);
        case QUIT:
            _exit(0);
        }
        if (send(socket, &m, sizeof m, 0) < 0)
            break;
    }
    _exit(0);
}

static struct child start_child(uint64_t features)
{
    struct child c = {.memfd = memfd_create("ram", MFD_CLOEXEC)};
    int sockets[2];
    assert_int_equal(ftruncate(c.memfd, (off_t)(BYTES + LEAD_PAGES * 4096)), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        close(sockets[0]);
        dup2(sockets[1], STDIN_FILENO);
        child_main(sockets[1], c.memfd, features);
    }
    close(sockets[1]);
    c.socket = sockets[0];
    c.uffd = receive_fd(c.socket, &c.address);
    return c;
}

static void post(struct child *c, enum order order, uint64_t value)
{
    struct message m = {order, value};
    assert_int_equal(send(c->socket, &m, sizeof m, 0), sizeof m);
}

static void tell(struct child *c, enum order order, uint64_t value)
{
    struct message m;
    post(c, order, value);
    assert_int_equal(recv(c->socket, &m, sizeof m, 0), sizeof m);
}

static void end_child(struct child *c)
{
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
    }
    close(c->socket);
    close(c->uffd);
    close(c->memfd);
}

struct rig {
    struct child child;
    struct region *region;
    struct tracker *tracker;
    struct harvest_set set;
    struct mig_error e;
};

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    g->child = start_child(UFFD_WANT);
    assert_int_equal(
        region_new_from_fd(&g->region, "ram", g->child.memfd, LEAD_PAGES * 4096, BYTES, false, &g->e), 0);
    int rc = tracker_new_uffd(&g->tracker, "uffd", g->region, g->child.uffd, g->child.pid, g->child.address,
                              &g->e);
    if (rc < 0)
        fail_msg("%s", g->e.message);
    g->set = (struct harvest_set){&g->tracker, 1, &g->region, 1};
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    tracker_free(g->tracker);
    end_child(&g->child);
    assert_int_equal(g->region->refs, 1);
    region_unref(g->region);
    free(g);
    return 0;
}

static uint64_t harvest(struct rig *g)
{
    struct harvest_result got;
    bitmap_clear_all(g->region->dirty);
    if (harvest_run(&g->set, &got, &g->e) < 0)
        fail_msg("%s", g->e.message);
    assert_int_equal(got.pages_new, bitmap_count(g->region->dirty));
    return got.pages_new;
}

static void start(struct rig *g)
{
    if (harvest_start(&g->set, &g->e) < 0)
        fail_msg("%s (%s)", g->e.message, g->e.hint);
}

static void test_exact(void **state)
{
    struct rig *g = *state;
    struct rnd rnd = {9};
    tell(&g->child, WRITE_EVERY_SECOND, 0); /* before the start */
    start(g);
    start(g); /* idempotent */
    assert_int_equal(harvest(g), 0);
    for (int round = 0; round < 10; round++) {
        uint8_t model[PAGES] = {0};
        uint64_t n = 0;
        for (int i = 0; i < 100; i++) {
            uint64_t page = rnd_below(&rnd, PAGES);
            tell(&g->child, WRITE_PAGE, page);
            n += !model[page];
            model[page] = 1;
        }
        struct gate_finding f;
        bitmap_clear_all(g->region->dirty);
        assert_int_equal(harvest_gate(&g->set, &f, &g->e), 0);
        assert_int_equal(f.pages, n);
        assert_int_equal(harvest(g), n); /* the peek left them */
        for (uint64_t i = 0; i < PAGES; i++)
            assert_int_equal(bitmap_test(g->region->dirty, i), model[i]);
        assert_int_equal(harvest(g), 0);
    }
    /* More ranges than one call returns. */
    tell(&g->child, WRITE_EVERY_SECOND, 0);
    assert_int_equal(harvest(g), PAGES / 2);
    assert_int_equal(harvest(g), 0);
    /* Written, then dropped from the page table, as reclaim does. */
    tell(&g->child, WRITE_PAGE, 5);
    tell(&g->child, DROP_PAGE, 5);
    struct gate_finding f;
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_gate(&g->set, &f, &g->e), 0);
    assert_int_equal(f.pages, 1);
    assert_int_equal(f.range[0].first_page, 5);
    assert_int_equal(harvest(g), 1);
}

static void test_stop(void **state)
{
    struct rig *g = *state;
    start(g);
    tell(&g->child, WRITE_PAGE, 1);
    harvest_stop(&g->set);
    harvest_stop(&g->set);
    tell(&g->child, WRITE_PAGE, 2);
    start(g);
    assert_int_equal(harvest(g), 0);
    tell(&g->child, WRITE_PAGE, 3);
    assert_int_equal(harvest(g), 1);
    assert_true(bitmap_test(g->region->dirty, 3));
}

/* The child writes as fast as it can while pages are harvested and copied; in the end the copy is equal (R2).
 */
static void test_concurrent(void **state)
{
    struct rig *g = *state;
    uint8_t *copy = malloc(BYTES);
    start(g);
    post(&g->child, WRITE_ON, 0);
    memcpy(copy, g->region->map, BYTES); /* round 0 */
    for (int round = 0; round < 20; round++) {
        if (round == 19) { /* it stands still, and the last round finds the rest */
            struct message m;
            post(&g->child, STAND_STILL, 0);
            assert_int_equal(recv(g->child.socket, &m, sizeof m, 0), sizeof m);
            assert_int_equal(recv(g->child.socket, &m, sizeof m, 0), sizeof m);
            assert_int_equal(m.order, STAND_STILL);
        }
        harvest(g);
        bitmap_for_each_run (g->region->dirty, first, count)
            memcpy(copy + first * 4096, g->region->map + first * 4096, count * 4096);
    }
    assert_memory_equal(copy, g->region->map, BYTES);
    free(copy);
}

static void test_replaced(void **state)
{
    struct rig *g = *state;
    start(g);
    tell(&g->child, WRITE_PAGE, PAGES - 1);
    tell(&g->child, REPLACE, 0);
    assert_int_equal(harvest(g), PAGES); /* nobody knows what was written in between */
    harvest(g);
    tell(&g->child, WRITE_PAGE, 9);
    tell(&g->child, WRITE_PAGE, PAGES - 2);
    assert_int_equal(harvest(g), 2);
}

static void assert_gone(struct rig *g)
{
    char pid[32];
    mig_error_clear(&g->e);
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_run(&g->set, NULL, &g->e), -ESRCH);
    assert_int_equal(bitmap_count(g->region->dirty), PAGES);
    snprintf(pid, sizeof pid, "process %d", (int)g->child.pid);
    assert_non_null(strstr(g->e.message, pid));
    harvest_stop(&g->set);
}

static void test_killed(void **state)
{
    struct rig *g = *state;
    start(g);
    kill(g->child.pid, SIGKILL);
    waitpid(g->child.pid, NULL, 0);
    assert_gone(g);
    mig_error_clear(&g->e);
    assert_int_equal(harvest_start(&g->set, &g->e), -ESRCH);
    struct tracker *t = NULL;
    assert_int_equal(
        tracker_new_uffd(&t, "uffd", g->region, g->child.uffd, g->child.pid, g->child.address, &g->e),
        -ESRCH);
    g->child.pid = -1;
}

/* The process lives, its memory does not. */
static void test_exec(void **state)
{
    struct rig *g = *state;
    start(g);
    post(&g->child, EXEC, 0);
    char path[40], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)g->child.pid);
    for (int i = 0; i < 1000 && strncmp(name, "cat", 3) != 0; i++) {
        usleep(1000);
        FILE *f = fopen(path, "re");
        if (!f || !fgets(name, sizeof name, f))
            name[0] = '\0';
        if (f)
            fclose(f);
    }
    assert_memory_equal(name, "cat", 3);
    assert_gone(g);
}

static void assert_start_fails(struct rig *g, int uffd, uint64_t address, const char *message,
                               const char *hint)
{
    struct tracker *t = NULL;
    mig_error_clear(&g->e);
    assert_int_equal(tracker_new_uffd(&t, "uffd", g->region, uffd, g->child.pid, address, &g->e), 0);
    assert_true(t->ops->start(t, &g->e) < 0);
    if (!strstr(g->e.message, message) || !strstr(g->e.hint, hint))
        fail_msg("\"%s\" (%s) does not say \"%s\" and \"%s\"", g->e.message, g->e.hint, message, hint);
    tracker_free(t);
}

static void test_refused(void **state)
{
    struct rig *g = *state;
    struct tracker *t = NULL;
    assert_start_fails(g, g->child.uffd, g->child.address + 4096, "not there from", "MAP_SHARED");
    assert_start_fails(g, g->child.uffd, 0x10000, "not there from 0x10000", "MAP_SHARED");
    assert_int_equal(
        tracker_new_uffd(&t, "uffd", g->region, g->child.memfd, g->child.pid, g->child.address, &g->e),
        -EINVAL);
    assert_non_null(strstr(g->e.message, "not a userfaultfd"));
    assert_int_equal(tracker_new_uffd(&t, "uffd", g->region, g->child.uffd, g->child.pid, 17, &g->e),
                     -EINVAL);
    assert_int_equal(
        tracker_new_uffd(&t, "uffd", g->region, g->child.uffd, g->child.pid, UINT64_MAX - 4095, &g->e),
        -EINVAL);
    assert_null(t);
    /* A userfaultfd of this process, not of the child. */
    int ours = make_uffd(UFFD_WANT);
    assert_true(ours >= 0);
    assert_start_fails(g, ours, g->child.address, "tracker uffd", "the workload must");
    close(ours);
    /* Two watchers of one memory. */
    start(g);
    struct child second = start_child(UFFD_WANT_WP_HUGETLBFS_SHMEM); /* without WP_ASYNC */
    struct region *r = NULL, *keep = g->region;
    pid_t pid = g->child.pid;
    assert_int_equal(region_new_from_fd(&r, "ram", second.memfd, LEAD_PAGES * 4096, BYTES, true, &g->e), 0);
    g->region = r;
    g->child.pid = second.pid;
    assert_start_fails(g, second.uffd, second.address, "cannot scan", "WP_ASYNC");
    g->region = keep;
    g->child.pid = pid;
    end_child(&second);
    region_unref(r);
}

int main(void)
{
    int probe = make_uffd(UFFD_WANT);
    if (probe < 0) {
        printf(
            "skipped: this kernel has no userfaultfd with asynchronous write protection (Linux 6.7): %m\n");
        return 77;
    }
    close(probe);
    signal(SIGPIPE, SIG_IGN);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_exact),  T(test_stop), T(test_concurrent), T(test_replaced),
        T(test_killed), T(test_exec), T(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

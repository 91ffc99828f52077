/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store of descriptors against a manager made here, which keeps what the real one would: an open file
 * only once, silently. The process that comes next is a child with the descriptors and names in its
 * environment. */
#include "loop/fdstore.h"
#include "base/fds.h"
#include <fcntl.h>
#include <linux/kcmp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

#define MAX_FDS 64

static struct {
    char path[64];
    int socket;
    struct {
        char name[256];
        int fd;
    } kept[MAX_FDS];
    size_t n;
} manager;

static bool is_same(int a, int b)
{
    return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, (unsigned long)a, (unsigned long)b) == 0;
}

static void take_message(char *text, int fd)
{
    char *name = strstr(text, "FDNAME=");
    assert_non_null(name);
    name += strlen("FDNAME=");
    name[strcspn(name, "\n")] = '\0';
    if (strstr(text, "FDSTOREREMOVE=1")) {
        for (size_t i = manager.n; i-- > 0;)
            if (strcmp(manager.kept[i].name, name) == 0) {
                close(manager.kept[i].fd);
                manager.kept[i] = manager.kept[--manager.n];
            }
        return;
    }
    assert_true(fd >= 0);
    assert_non_null(strstr(text, "FDPOLL=0"));
    for (size_t i = 0; i < manager.n; i++)
        if (is_same(manager.kept[i].fd, fd)) {
            close(fd);
            return;
        }
    snprintf(manager.kept[manager.n].name, sizeof manager.kept[0].name, "%s", name);
    manager.kept[manager.n++].fd = fd;
}

static void run_manager(void)
{
    for (;;) {
        char text[512], control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = {text, sizeof text - 1};
        struct msghdr m = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(manager.socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
            return;
        text[n] = '\0';
        int fd = -1;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            if (c->cmsg_type == SCM_RIGHTS)
                memcpy(&fd, CMSG_DATA(c), sizeof fd);
        take_message(text, fd);
    }
}

static int start_manager(void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(manager.path, sizeof manager.path, "/tmp/test-fdstore-%d", getpid());
    memcpy(a.sun_path, manager.path, strlen(manager.path) + 1);
    manager.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (manager.socket < 0 || bind(manager.socket, (struct sockaddr *)&a, sizeof a) < 0)
        return -1;
    setenv("NOTIFY_SOCKET", manager.path, 1);
    fdstore_init();
    return fdstore_take_listener("peer") == -1 && fdstore_is_there() ? 0 : -1;
}

static int stop_manager(void **state)
{
    fdstore_done();
    unsetenv("NOTIFY_SOCKET");
    for (size_t i = 0; i < manager.n; i++)
        close(manager.kept[i].fd);
    manager.n = 0;
    close(manager.socket);
    return unlink(manager.path);
}

static void kept(const char *owner, const char *part, int fd, const char *name)
{
    char got[FDSTORE_NAME_MAX];
    fdstore_keep(owner, part, fd, got);
    assert_string_equal(got, name);
}

static bool manager_has(const char *name)
{
    run_manager();
    for (size_t i = 0; i < manager.n; i++)
        if (strcmp(manager.kept[i].name, name) == 0)
            return true;
    return false;
}

static void parts_come_and_go(void **state)
{
    int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC);
    fdstore_begin("vm1");
    kept("vm1", "device/nic0", a, "vm1/device/nic0");
    kept("vm1", "device/nic1", b, "vm1/device/nic1");
    fdstore_end("vm1");
    assert_true(manager_has("vm1/device/nic0"));
    fdstore_begin("vm1");
    kept("vm1", "device/nic1", b, "vm1/device/nic1");
    fdstore_end("vm1");
    assert_false(manager_has("vm1/device/nic0"));
    assert_int_equal(manager.n, 1);
    fdstore_begin("vm2"); /* another owner's save ends nothing of this one */
    fdstore_end("vm2");
    assert_true(manager_has("vm1/device/nic1"));
    fdstore_begin("vm1"); /* another file of the same part */
    kept("vm1", "device/nic1", a, "vm1/device/nic1");
    fdstore_end("vm1");
    run_manager();
    assert_int_equal(manager.n, 1);
    assert_true(is_same(manager.kept[0].fd, a));
    fdstore_drop("vm1");
    run_manager();
    assert_int_equal(manager.n, 0);
    close(a);
    close(b);
}

static void the_same_open_file_has_one_name(void **state)
{
    int a = eventfd(0, EFD_CLOEXEC), again = fd_dup(a), other = eventfd(0, EFD_CLOEXEC);
    kept("vm1", "container/dma0", a, "vm1/container/dma0");
    kept("vm2", "container/x", again, "vm1/container/dma0");
    fdstore_drop("vm1");
    assert_true(manager_has("vm1/container/dma0"));
    kept("vm1", "container/dma0", other, "vm1/container/dma0#2");
    run_manager();
    assert_int_equal(manager.n, 2);
    fdstore_drop("vm2");
    assert_false(manager_has("vm1/container/dma0"));
    assert_true(manager_has("vm1/container/dma0#2"));
    fdstore_drop("vm1");
    run_manager();
    assert_int_equal(manager.n, 0);
    close(a);
    close(again);
    close(other);
}

/* Two regions of one memfd are two files in the store, so that each has its name. */
static void memory_is_opened_again(void **state)
{
    int fd = memfd_create("ram", MFD_CLOEXEC), again = fd_dup(fd);
    assert_int_equal(ftruncate(fd, 8192), 0);
    for (int i = 0; i < 3; i++) { /* once more changes nothing */
        kept("vm1", "memory/ram0", fd, "vm1/memory/ram0");
        kept("vm1", "memory/ram1", again, "vm1/memory/ram1");
        run_manager();
        assert_int_equal(manager.n, 2);
    }
    char byte = 'x';
    assert_int_equal(pwrite(manager.kept[0].fd, &byte, 1, 4096), 1);
    byte = 0;
    assert_int_equal(pread(fd, &byte, 1, 4096), 1);
    assert_int_equal(byte, 'x');
    fdstore_drop("vm1");
    close(fd);
    close(again);
}

static void names_are_what_a_manager_takes(void **state)
{
    int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC);
    kept("vm1", "device/0000:17:00.1", a, "vm1/device/0000=17=00.1");
    kept("vm1", "device/0000=17:00.1", b, "vm1/device/0000=17=00.1#2");
    fdstore_drop("vm1");
    run_manager();
    assert_int_equal(manager.n, 0);
    close(a);
    close(b);
}

static void names_have_an_end(void **state)
{
    char part[300], name[FDSTORE_NAME_MAX];
    memset(part, 'x', sizeof part - 1);
    part[sizeof part - 1] = '\0';
    int a = eventfd(0, EFD_CLOEXEC);
    fdstore_keep("vm1", part, a, name);
    assert_string_equal(name, "");
    run_manager();
    assert_int_equal(manager.n, 0);
    close(a);
}

/* As the manager starts the process that comes next. */
static int next_process(int (*body)(void))
{
    char names[2048] = "", number[16];
    run_manager();
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fdstore_done();
        int high[MAX_FDS];
        for (size_t i = 0; i < manager.n; i++) {
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ":" : "",
                     manager.kept[i].name);
            high[i] = fcntl(manager.kept[i].fd, F_DUPFD_CLOEXEC, 100);
        }
        for (size_t i = 0; i < manager.n; i++)
            dup2(high[i], 3 + (int)i);
        for (size_t i = 0; i < manager.n; i++)
            close(high[i]);
        snprintf(number, sizeof number, "%d", getpid());
        setenv("LISTEN_PID", number, 1);
        snprintf(number, sizeof number, "%zu", manager.n);
        setenv("LISTEN_FDS", number, 1);
        setenv("LISTEN_FDNAMES", names, 1);
        _exit(body());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int take_over(void)
{
    fdstore_init();
    int listener = fdstore_take_listener("peer"), fd;
    char name[FDSTORE_NAME_MAX];
    uint64_t value;
    if (listener < 0 || fdstore_take_listener("peer") >= 0 || fdstore_take_listener("metrics") >= 0)
        return 1;
    if (fdstore_get("vm1", "device/nic0", "vm1/device/nic0", &fd) < 0)
        return 2;
    if (read(fd, &value, sizeof value) != sizeof value || value != 42)
        return 3;
    if (fdstore_get("vm1", "device/nic9", "vm1/device/nic9", &fd) != -ENOENT)
        return 4;
    fdstore_begin("vm1"); /* what was handed over and not named stays as long as its owner */
    fdstore_end("vm1");
    if (fdstore_close_unknown() != 1)
        return 5;
    fdstore_keep("vm1", "device/nic0", fd, name);
    if (strcmp(name, "vm1/device/nic0") != 0)
        return 6;
    fdstore_done();
    return 0;
}

static void the_next_process_finds_them(void **state)
{
    int a = eventfd(42, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC),
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    assert_int_equal(bind(listener, (struct sockaddr *)&any, sizeof any.sun_family), 0);
    assert_int_equal(listen(listener, 1), 0);
    kept("vm1", "device/nic0", a, "vm1/device/nic0");
    kept("gone", "device/nic0", b, "gone/device/nic0");
    run_manager();
    snprintf(manager.kept[manager.n].name, sizeof manager.kept[0].name, "peer");
    manager.kept[manager.n++].fd = listener;
    /* Not from migd: a descriptor without a name, and another file under a name that there is. */
    snprintf(manager.kept[manager.n].name, sizeof manager.kept[0].name, "stored");
    manager.kept[manager.n++].fd = eventfd(0, EFD_CLOEXEC);
    snprintf(manager.kept[manager.n].name, sizeof manager.kept[0].name, "vm1/device/nic0");
    manager.kept[manager.n++].fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(next_process(take_over), 0);
    assert_false(manager_has("stored"));
    assert_int_equal(manager.n, 2); /* with the listener */
    for (size_t i = 0; i < manager.n; i++)
        assert_true(manager.kept[i].fd == listener || is_same(manager.kept[i].fd, a));
    assert_false(manager_has("gone/device/nic0"));
    assert_true(manager_has("vm1/device/nic0"));
    close(a);
    close(b);
}

static void without_a_manager_nothing_is_kept(void **state)
{
    char name[FDSTORE_NAME_MAX];
    fdstore_init();
    assert_false(fdstore_is_there());
    fdstore_begin("vm1");
    fdstore_keep("vm1", "x", 0, name);
    assert_string_equal(name, "");
    fdstore_end("vm1");
    fdstore_drop("vm1");
    fdstore_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parts_come_and_go, start_manager, stop_manager),
        cmocka_unit_test_setup_teardown(the_same_open_file_has_one_name, start_manager, stop_manager),
        cmocka_unit_test_setup_teardown(memory_is_opened_again, start_manager, stop_manager),
        cmocka_unit_test_setup_teardown(names_are_what_a_manager_takes, start_manager, stop_manager),
        cmocka_unit_test_setup_teardown(names_have_an_end, start_manager, stop_manager),
        cmocka_unit_test_setup_teardown(the_next_process_finds_them, start_manager, stop_manager),
        cmocka_unit_test(without_a_manager_nothing_is_kept),
    };
    unsetenv("NOTIFY_SOCKET");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

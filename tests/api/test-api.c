/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon as a caller on the bus sees it: objects, errors, who may do what, garbage, rest. Every test
 * leaves the daemon as it found it, descriptors included. */
#include "api-fixture.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- tests ---- */

static void domains_come_and_go(void **state)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    const char *path;
    char file[200];
    assert_done(manager_call("RegisterDomain", &reply, "sa{sv}", "a.b", 1, "incoming", "b", true));
    assert_true(sd_bus_message_read(reply, "o", &path) > 0);
    assert_string_equal(path, MIGD_BUS_DOMAIN_PREFIX "/a_2eb");
    snprintf(file, sizeof file, "%s/domains/a.b.json", migd.runtime_dir);
    assert_int_equal(access(file, F_OK), 0);
    _cleanup_free_ char *s = get_string(path, MIGD_IFACE_DOMAIN, "State"),
                        *name = get_string(path, MIGD_IFACE_DOMAIN, "Name");
    assert_string_equal(s, "waiting");
    assert_string_equal(name, "a.b");
    assert_refused(manager_call("RegisterDomain", NULL, "sa{sv}", "a.b", 0), ERROR("Exists"));
    assert_done(manager_call("GetDomain", NULL, "sa{sv}", "a.b", 0));
    assert_done(call(path, MIGD_IFACE_DOMAIN, "Release", NULL, "a{sv}", 0));
    assert_refused(manager_call("GetDomain", NULL, "sa{sv}", "a.b", 0), ERROR("NoSuchDomain"));
    assert_int_equal(access(file, F_OK), -1);
    assert_done(manager_call("RegisterDomain", NULL, "sa{sv}", "a.b", 1, "saved", "b", false));
    assert_int_equal(access(file, F_OK), -1);
    assert_done(call(MIGD_BUS_DOMAIN_PREFIX "/a_2eb", MIGD_IFACE_DOMAIN, "Release", NULL, "a{sv}", 0));
}

static void bad_names_and_options(void **state)
{
    static const char *const bad[] = {
        "", "-x", "a/b", "a b", "../etc", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_refused(manager_call("RegisterDomain", NULL, "sa{sv}", bad[i], 0), ERROR("InvalidArgument"));
    assert_refused(manager_call("RegisterDomain", NULL, "sa{sv}", "x", 1, "incomming", "b", true),
                   ERROR("InvalidArgument"));
    assert_refused(manager_call("RegisterDomain", NULL, "sa{sv}", "x", 1, "incoming", "s", "yes"),
                   ERROR("InvalidArgument"));
    assert_refused(
        manager_call("RegisterDomain", NULL, "sa{sv}", "x", 2, "saved", "b", true, "saved", "b", true),
        ERROR("InvalidArgument"));
    assert_refused(manager_call("GetMigration", NULL, "sa{sv}", "", 0), ERROR("NoSuchMigration"));
    assert_refused(manager_call("GetMigration", NULL, "sa{sv}", "nothing", 0), ERROR("NoSuchMigration"));
    assert_refused(manager_call("GetDomain", NULL, "sa{sv}", "nothing", 0), ERROR("NoSuchDomain"));
    assert_refused(manager_call("RegisterDomain", NULL, "s", "x"), SD_BUS_ERROR_INVALID_ARGS);
}

static void memory_from_a_memfd(void **state)
{
    _cleanup_close_ int fd = memory_fd(4 * MIB);
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL, *opened = NULL;
    uint32_t index;
    int back;
    uint64_t offset, size;
    struct stat a, b;
    assert_done(domain_call("AddMemory", NULL, "shtta{sv}", "ram0", fd, UINT64_C(0), MIB, 1, "iova", "at", 2,
                            UINT64_C(0), MIB));
    assert_done(domain_call("AddMemory", &reply, "shtta{sv}", "ram1", fd, MIB, UINT64_C(0), 0));
    assert_true(sd_bus_message_read(reply, "u", &index) > 0);
    assert_int_equal(index, 1);
    assert_done(domain_call("OpenMemory", &opened, "sa{sv}", "ram1", 0));
    assert_true(sd_bus_message_read(opened, "htt", &back, &offset, &size) > 0);
    assert_int_equal(offset, MIB);
    assert_int_equal(size, 3 * MIB);
    assert_int_equal(fstat(fd, &a) | fstat(back, &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    assert_refused(domain_call("AddMemory", NULL, "shtta{sv}", "ram0", fd, UINT64_C(0), MIB, 0),
                   ERROR("Exists"));
    assert_refused(domain_call("AddMemory", NULL, "shtta{sv}", "ram2", fd, UINT64_C(0), MIB, 1, "iova", "at",
                               1, MIB / 2),
                   ERROR("Exists"));
    assert_refused(domain_call("AddMemory", NULL, "shtta{sv}", "ram2", fd, UINT64_C(0), 5 * MIB, 0),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("AddMemory", NULL, "shtta{sv}", "ram2", fd, UINT64_C(1), MIB, 0),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("AddMemory", NULL, "shtta{sv}", "ram2", fd, UINT64_MAX - 4095, MIB, 0),
                   ERROR("InvalidArgument"));
    assert_refused(
        domain_call("AddMemory", NULL, "shtta{sv}", "ram2", fd, UINT64_C(0), MIB, 1, "origen", "s", "x"),
        ERROR("InvalidArgument"));
    assert_refused(domain_call("OpenMemory", NULL, "sa{sv}", "ram2", 0), ERROR("NoSuchObject"));
    assert_done(domain_call("MakeMemory", NULL, "sta{sv}", "ram2", MIB, 0));
    assert_refused(domain_call("MakeMemory", NULL, "sta{sv}", "ram3", MIB + 1, 0), ERROR("InvalidArgument"));
    assert_refused(domain_call("MakeMemory", NULL, "sta{sv}", "ram3", UINT64_C(1) << 60, 0),
                   ERROR("LimitExceeded"));
}

static void hostile_descriptors(void **state)
{
    char path[128];
    int sockets[2], pipe_fds[2];
    snprintf(path, sizeof path, "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    const int fds[] = {open(path, O_RDWR | O_CLOEXEC),
                       sockets[0],
                       pipe_fds[0],
                       open("/dev/zero", O_RDWR | O_CLOEXEC),
                       open(dir, O_RDONLY | O_CLOEXEC),
                       open("/dev/shm", O_PATH | O_CLOEXEC)};
    uint64_t begin = now_usec();
    for (size_t i = 0; i < ELEMENTS(fds); i++) {
        assert_refused(domain_call("AddMemory", NULL, "shtta{sv}", "ram0", fds[i], UINT64_C(0), MIB, 0),
                       ERROR("InvalidArgument"));
        if (fds[i] != sockets[0])
            assert_refused(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "h", fds[i], 0),
                           ERROR("InvalidArgument"));
        if (fds[i] != sockets[0])
            close(fds[i]);
    }
    /* A server that never says anything: the call ends at its timeout, and others are answered meanwhile. */
    const char *e = domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "h", sockets[0], 1, "timeout", "t",
                                UINT64_C(300000));
    assert_refused(e, ERROR("DeviceTimeout"));
    assert_true(now_usec() - begin < 10 * USEC_PER_SEC);
    close(sockets[0]);
    close(sockets[1]);
    close(pipe_fds[1]);
    unlink(path);
}

struct answer {
    bool here;
    bool failed;
};

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct answer *a = userdata;
    a->here = true;
    a->failed = sd_bus_message_get_error(m) != NULL;
    return 0;
}

static void long_calls_hold_up_nobody_else(void **state)
{
    int sockets[2];
    struct answer answer = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    assert_true(sd_bus_call_method_async(bus, NULL, MIGD_BUS_NAME, DEMO, MIGD_IFACE_DOMAIN, "AddUserDevice",
                                         on_answer, &answer, "sva{sv}", "nic0", "h", sockets[0], 1, "timeout",
                                         "t", UINT64_C(1500000)) >= 0);
    uint64_t begin = now_usec();
    assert_done(manager_call("GetDomain", NULL, "sa{sv}", "demo", 0));
    assert_refused(domain_call("MakeMemory", NULL, "sta{sv}", "ram0", MIB, 0), ERROR("Busy"));
    assert_refused(domain_call("Release", NULL, "a{sv}", 0), ERROR("Busy"));
    assert_true(now_usec() - begin < USEC_PER_SEC);
    assert_false(answer.here);
    while (!answer.here && now_usec() - begin < 10 * USEC_PER_SEC)
        if (sd_bus_process(bus, NULL) == 0)
            sd_bus_wait(bus, USEC_PER_SEC);
    assert_true(answer.here && answer.failed);
    assert_done(domain_call("MakeMemory", NULL, "sta{sv}", "ram0", MIB, 0));
    close(sockets[0]);
    close(sockets[1]);
}

static void trackers_and_controllers(void **state)
{
    _cleanup_close_ int fd = memory_fd(4 * MIB), log = memory_fd(4096);
    assert_done(domain_call("AddMemory", NULL, "shtta{sv}", "ram0", fd, UINT64_C(0), UINT64_C(0), 0));
    assert_done(
        domain_call("AddDirtyLog", NULL, "ssaha{sv}", "cpu", "cpu-log", 1, log, 1, "memory", "s", "ram0"));
    assert_done(domain_call("AddDirtyLog", NULL, "ssaha{sv}", "all", "all", 0, 0));
    assert_refused(domain_call("AddDirtyLog", NULL, "ssaha{sv}", "all", "all", 0, 0), ERROR("Exists"));
    assert_refused(domain_call("AddDirtyLog", NULL, "ssaha{sv}", "x", "all", 1, log, 0),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("AddDirtyLog", NULL, "ssaha{sv}", "x", "magic", 0, 0),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("AddDirtyLog", NULL, "ssaha{sv}", "x", "cpu-log", 1, log, 0),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("AddDirtyLog", NULL, "ssaha{sv}", "x", "cpu-log", 0, 1, "memory", "s", "ram0"),
                   ERROR("InvalidArgument"));
    assert_refused(
        domain_call("AddDirtyLog", NULL, "ssaha{sv}", "x", "cpu-log", 1, log, 1, "memory", "s", "ram9"),
        ERROR("NoSuchObject"));
    assert_refused(domain_call("AddDirtyLog", NULL, "ssaha{sv}", "x", "all", 0, 1, "pid", "u", 7),
                   ERROR("InvalidArgument"));
    assert_refused(
        domain_call("AddDirtyLog", NULL, "ssaha{sv}", "x", "uffd", 1, log, 1, "memory", "s", "ram0"),
        ERROR("InvalidArgument"));
    assert_done(domain_call("SetController", NULL, "sa{sv}", "dbus", 1, "path", "s", "/org/example/Vmm"));
    _cleanup_free_ char *kind = get_string(DEMO, MIGD_IFACE_DOMAIN, "Controller");
    assert_string_equal(kind, "dbus");
    assert_refused(domain_call("SetController", NULL, "sa{sv}", "dbus", 0), ERROR("InvalidArgument"));
    assert_refused(domain_call("SetController", NULL, "sa{sv}", "dbus", 1, "path", "s", "nonsense"),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("SetController", NULL, "sa{sv}", "qmp", 0), ERROR("InvalidArgument"));
    assert_done(domain_call("SetController", NULL, "sa{sv}", "none", 0));
}
static void devices(void **state)
{
    char socket[128];
    snprintf(socket, sizeof socket, "%s/nic.sock", dir);
    pid_t simdev = start_simdev(socket);
    assert_done(domain_call("MakeMemory", NULL, "sta{sv}", "ram0", 4 * MIB, 1, "iova", "at", 1, UINT64_C(0)));
    assert_done(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "s", socket, 0));
    assert_refused(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "s", socket, 0), ERROR("Exists"));
    assert_refused(domain_call("AddUserDevice", NULL, "sva{sv}", "nic1", "s", "relative.sock", 0),
                   ERROR("InvalidArgument"));
    assert_refused(
        domain_call("AddUserDevice", NULL, "sva{sv}", "nic1", "s", socket, 1, "tracker", "s", "none"),
        ERROR("InvalidArgument"));
    assert_refused(domain_call("AddUserDevice", NULL, "sva{sv}", "nic1", "s", socket, 1, "log-page-size", "t",
                               UINT64_C(5000)),
                   ERROR("InvalidArgument"));
    assert_done(domain_call("Map", NULL, "ssttta{sv}", "nic0", "ram0", UINT64_C(0), 64 * MIB, MIB, 0));
    assert_refused(domain_call("Map", NULL, "ssttta{sv}", "nic0", "ram0", UINT64_C(0), 64 * MIB, MIB, 0),
                   ERROR("Exists"));
    assert_refused(domain_call("Map", NULL, "ssttta{sv}", "nic0", "ram0", 4 * MIB, 128 * MIB, MIB, 0),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("Map", NULL, "ssttta{sv}", "nic9", "ram0", UINT64_C(0), 128 * MIB, MIB, 0),
                   ERROR("NoSuchObject"));
    assert_refused(domain_call("Unmap", NULL, "stta{sv}", "nic0", 64 * MIB, MIB / 2, 0),
                   ERROR("NoSuchObject"));
    assert_done(domain_call("Unmap", NULL, "stta{sv}", "nic0", 64 * MIB, MIB, 0));
    program_stop(&simdev);
    assert_true(wait_state("broken"));
    _cleanup_free_ char *problem = get_string(DEMO, MIGD_IFACE_DOMAIN, "Problem");
    assert_non_null(strstr(problem, "nic0"));
}

/* A VMM that knows nothing of migration uses the device through migd. Here the VMM is migd itself: its domain
 * "guest" takes the offered socket for a device. */
static bool has_memory(const char *name)
{
    return !domain_call("OpenMemory", NULL, "sa{sv}", name, 0);
}

static void memory_of_a_pass_through_client(void **state)
{
    char socket[128], offered[128];
    static const char guest[] = MIGD_BUS_DOMAIN_PREFIX "/guest";
    snprintf(socket, sizeof socket, "%s/nic.sock", dir);
    snprintf(offered, sizeof offered, "%s/offered.sock", dir);
    pid_t simdev = start_simdev(socket);
    assert_done(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "s", socket, 2, "listen", "s", offered,
                            "map", "b", false));
    assert_done(manager_call("RegisterDomain", NULL, "sa{sv}", "guest", 1, "saved", "b", false));
    assert_done(call(guest, MIGD_IFACE_DOMAIN, "MakeMemory", NULL, "sta{sv}", "ram", 4 * MIB, 1, "iova", "at",
                     2, UINT64_C(0), 16 * MIB));
    assert_done(call(guest, MIGD_IFACE_DOMAIN, "AddUserDevice", NULL, "sva{sv}", "nic", "s", offered, 1,
                     "tracker", "s", "all"));
    assert_true(has_memory("nic0-mem0"));
    assert_false(has_memory("nic0-mem1")); /* one file, mapped twice */
    assert_done(call(guest, MIGD_IFACE_DOMAIN, "Release", NULL, "a{sv}", 0));
    for (int i = 0; i < 200 && has_memory("nic0-mem0"); i++)
        usleep(20000);
    assert_false(has_memory("nic0-mem0"));
    program_stop(&simdev);
    assert_true(wait_state("broken"));
}

/* ---- policy ---- */

static void strangers_may_look_only(void **state)
{
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        /* A connection of its own, as nobody. */
        _cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus *own = NULL;
        char *version = NULL;
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(10);
        if (sd_bus_new(&own) < 0 || sd_bus_set_address(own, private_bus.address) < 0 ||
            sd_bus_set_bus_client(own, true) < 0 || sd_bus_start(own) < 0)
            _exit(11);
        if (sd_bus_get_property_string(own, MIGD_BUS_NAME, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "Version", NULL,
                                       &version) < 0)
            _exit(12);
        int r = sd_bus_call_method(own, MIGD_BUS_NAME, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "RegisterDomain",
                                   &e, NULL, "sa{sv}", "x", 0);
        if (r >= 0 || strcmp(e.name, ERROR("NotAllowed")) != 0)
            _exit(13);
        sd_bus_error_free(&e);
        r = sd_bus_call_method(own, MIGD_BUS_NAME, DEMO, MIGD_IFACE_DOMAIN, "Release", &e, NULL, "a{sv}", 0);
        if (r >= 0 || strcmp(e.name, ERROR("NotAllowed")) != 0)
            _exit(14);
        sd_bus_error_free(&e);
        r = sd_bus_call_method(own, MIGD_BUS_NAME, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "ListDevices", &e, NULL,
                               "a{sv}", 0);
        if (r >= 0 || strcmp(e.name, ERROR("NotAllowed")) != 0)
            _exit(16);
        sd_bus_error_free(&e);
        r = sd_bus_set_property(own, MIGD_BUS_NAME, "/org/freedesktop/LogControl1",
                                "org.freedesktop.LogControl1", "LogLevel", &e, "s", "debug");
        if (r >= 0 || strcmp(e.name, ERROR("NotAllowed")) != 0)
            _exit(15);
        /* Of a rule that would change nothing it does not speak. */
        _exit(strstr(e.message, "call it as root") && !strstr(e.message, "polkit") ? 0 : 17);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void log_control(void **state)
{
    _cleanup_free_ char *level =
        get_string("/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel");
    assert_string_equal(level, "err");
    assert_true(sd_bus_set_property(bus, MIGD_BUS_NAME, "/org/freedesktop/LogControl1",
                                    "org.freedesktop.LogControl1", "LogLevel", NULL, "s", "crit") >= 0);
    assert_true(sd_bus_set_property(bus, MIGD_BUS_NAME, "/org/freedesktop/LogControl1",
                                    "org.freedesktop.LogControl1", "LogLevel", NULL, "s", "loud") < 0);
    _cleanup_free_ char *now =
        get_string("/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel");
    assert_string_equal(now, "crit");
}

/* ---- garbage and rest ---- */

/* Calls with arguments of random types and values: each is answered, none does harm. */
static void ten_thousand_calls_of_garbage(void **state)
{
    static const char *const methods[] = {
        "AddMemory",     "MakeMemory", "OpenMemory", "AddUserDevice",  "AddDirtyLog",  "Map", "Unmap",
        "SetController", "Migrate",    "Nonsense",   "RegisterDomain", "GetMigration", "Get", "Set"};
    static const char *const interfaces[] = {MIGD_IFACE_DOMAIN, MIGD_IFACE_MANAGER,
                                             "org.freedesktop.DBus.Properties", "org.example.None"};
    static const char *const paths[] = {DEMO, MIGD_BUS_ROOT, MIGD_BUS_DOMAIN_PREFIX,
                                        MIGD_BUS_DOMAIN_PREFIX "/_", MIGD_BUS_MIGRATION_PREFIX "/x"};
    static const char basic[] = "ybqtuxs";
    unsigned seed = 1;
    uint64_t begin = now_usec();
    for (unsigned i = 0; i < 10000; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        assert_true(sd_bus_message_new_method_call(bus, &m, MIGD_BUS_NAME,
                                                   paths[rand_r(&seed) % ELEMENTS(paths)],
                                                   interfaces[rand_r(&seed) % ELEMENTS(interfaces)],
                                                   methods[rand_r(&seed) % ELEMENTS(methods)]) >= 0);
        for (unsigned n = (unsigned)rand_r(&seed) % 7; n > 0; n--) {
            char type = basic[(unsigned)rand_r(&seed) % (sizeof basic - 1)];
            uint64_t value = (uint64_t)rand_r(&seed) << 40 | (unsigned)rand_r(&seed);
            int b = value & 1;
            if (type == 's')
                sd_bus_message_append_basic(m, 's', value & 1 ? "\xc3\xa4/../%s%n" : "ram0");
            else
                sd_bus_message_append_basic(m, type, type == 'b' ? (const void *)&b : &value);
        }
        if (rand_r(&seed) % 2)
            sd_bus_message_append(m, "a{sv}", 1, "iova", "a{sv}", 1, "x", "d", 0.5);
        /* Every hundredth is waited for, so that the daemon is never far behind. */
        if (i % 100 == 99)
            sd_bus_call(bus, m, CALL_LIMIT_USEC, NULL, NULL);
        else {
            sd_bus_message_set_expect_reply(m, false);
            assert_true(sd_bus_send(bus, m, NULL) >= 0);
        }
    }
    assert_done(manager_call("GetDomain", NULL, "sa{sv}", "demo", 0));
    assert_true(now_usec() - begin < 60 * USEC_PER_SEC);
    assert_true(process_status(migd.pid, "VmRSS") < 64 * 1024);
}

/* TSan has a thread of its own, which ticks. */
#ifdef __SANITIZE_THREAD__
#define SANITIZER_TICKS 1
#else
#define SANITIZER_TICKS 0
#endif

static void nothing_wakes_it(unsigned long threads)
{
    usleep(500000);
    unsigned long before = process_sleeps(migd.pid);
    assert_true(before > 0);
    usleep(2000000);
    if (SANITIZER_TICKS)
        return;
    assert_int_equal(process_sleeps(migd.pid), before);
    if (threads)
        assert_int_equal(process_status(migd.pid, "Threads"), threads);
}

static void at_rest(void **state)
{
    assert_done(manager_call("GetDomain", NULL, "sa{sv}", "demo", 0));
    nothing_wakes_it(1);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* Its own; the libraries are mapped by others too. */
    assert_true(process_status(migd.pid, "RssAnon") < 4 * 1024);
#endif
}

static void at_rest_with_a_device_that_writes(void **state)
{
    char socket[128];
    snprintf(socket, sizeof socket, "%s/nic.sock", dir);
    pid_t simdev = start_simdev(socket);
    assert_done(domain_call("MakeMemory", NULL, "sta{sv}", "ram0", 4 * MIB, 1, "iova", "at", 1, UINT64_C(0)));
    assert_done(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "s", socket, 0));
    nothing_wakes_it(0);
    program_stop(&simdev);
    assert_true(wait_state("broken"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(at_rest, register_demo,
                                        release_demo), /* first: nothing has grown yet */
        cmocka_unit_test_setup_teardown(at_rest_with_a_device_that_writes, register_demo, release_demo),
        cmocka_unit_test(domains_come_and_go),
        cmocka_unit_test(bad_names_and_options),
        cmocka_unit_test_setup_teardown(memory_from_a_memfd, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(hostile_descriptors, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(long_calls_hold_up_nobody_else, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(trackers_and_controllers, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(devices, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(memory_of_a_pass_through_client, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(strangers_may_look_only, register_demo, release_demo),
        cmocka_unit_test(log_control),
        cmocka_unit_test_setup_teardown(ten_thousand_calls_of_garbage, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(at_rest, register_demo, release_demo),
    };
    return run_api_tests(tests, ELEMENTS(tests));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon as a caller on the bus sees it: the real program, a bus of the test's own. Every test leaves the
 * daemon as it found it, descriptors included. */
#include "base/clock.h"
#include "base/fds.h"
#include "migd-bus.h"
#include "migd-errors.h"
#include "migd-process.h"
#include "private-bus.h"
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <cmocka.h>

#define MIB             (UINT64_C(1) << 20)
#define DEMO            MIGD_BUS_DOMAIN_PREFIX "/demo"
#define ERROR(word)     MIGD_ERROR_PREFIX word
#define CALL_LIMIT_USEC (20 * USEC_PER_SEC)

static struct private_bus private_bus;
static struct migd_process migd;
static sd_bus *bus;
static char dir[] = "/tmp/test-api-XXXXXX";

/* ---- calling ---- */

/* A call whose arguments are appended by sd_bus_message_append. Returns the name of the error, or NULL;
 * *ret_reply may be NULL. */
static const char *call(const char *path, const char *interface, const char *method,
                        sd_bus_message **ret_reply, const char *types, ...)
{
    static char name[128], text[1024];
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    va_list ap;
    assert_true(sd_bus_message_new_method_call(bus, &m, MIGD_BUS_NAME, path, interface, method) >= 0);
    va_start(ap, types);
    assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
    va_end(ap);
    int r = sd_bus_call(bus, m, CALL_LIMIT_USEC, &error, &reply);
    if (r < 0) {
        snprintf(name, sizeof name, "%s", error.name);
        snprintf(text, sizeof text, "%s", error.message ? error.message : "");
        return name;
    }
    if (ret_reply)
        *ret_reply = TAKE_PTR(reply);
    return NULL;
}
#define domain_call(...)  call(DEMO, MIGD_IFACE_DOMAIN, __VA_ARGS__)
#define manager_call(...) call(MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, __VA_ARGS__)

#define assert_done(name)                                                                                    \
    do {                                                                                                     \
        const char *_n = (name);                                                                             \
        if (_n)                                                                                              \
            fail_msg("refused with %s", _n);                                                                 \
    } while (0)
#define assert_refused(name, wanted)                                                                         \
    do {                                                                                                     \
        const char *_n = (name);                                                                             \
        if (!_n || strcmp(_n, (wanted)) != 0)                                                                \
            fail_msg("%s instead of %s", _n ? _n : "done", (wanted));                                        \
    } while (0)

static char *get_string(const char *path, const char *interface, const char *property)
{
    char *s = NULL;
    sd_bus_get_property_string(bus, MIGD_BUS_NAME, path, interface, property, NULL, &s);
    return s;
}

static int memory_fd(uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static unsigned fds_before;

static int register_demo(void **state)
{
    fds_before = process_fds(migd.pid);
    assert_done(manager_call("RegisterDomain", NULL, "sa{sv}", "demo", 0));
    return 0;
}

/* Everything is given back by the time that Release is answered. */
static int release_demo(void **state)
{
    assert_done(domain_call("Release", NULL, "a{sv}", 0));
    if (process_fds(migd.pid) != fds_before) {
        print_error("%u descriptors instead of %u\n", process_fds(migd.pid), fds_before);
        return -1;
    }
    return 0;
}

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

static void a_failed_migration_stays_visible(void **state)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *started = NULL, *waited = NULL, *found = NULL;
    const char *path, *by_domain;
    char destination[128];
    snprintf(destination, sizeof destination, "unix:%s/nobody", dir);
    assert_done(domain_call("MakeMemory", NULL, "sta{sv}", "ram0", MIB, 0));
    assert_refused(domain_call("Migrate", NULL, "sa{sv}", destination, 1, "gate", "s", "lax"),
                   ERROR("InvalidArgument"));
    assert_refused(domain_call("Migrate", NULL, "sa{sv}", destination, 1, "bandwith", "t", UINT64_C(1)),
                   ERROR("InvalidArgument"));
    assert_done(
        domain_call("Migrate", &started, "sa{sv}", destination, 1, "max-downtime", "t", UINT64_C(1000000)));
    assert_true(sd_bus_message_read(started, "o", &path) > 0);
    assert_done(call(path, MIGD_IFACE_MIGRATION, "Wait", &waited, "a{sv}", 0));
    _cleanup_free_ char *s = get_string(path, MIGD_IFACE_MIGRATION, "State");
    assert_string_equal(s, "failed");
    assert_done(manager_call("GetMigration", &found, "sa{sv}", "demo", 0));
    assert_true(sd_bus_message_read(found, "o", &by_domain) > 0);
    assert_string_equal(by_domain, path);
    const char *id = strrchr(path, '/') + 1;
    char prefix[12];
    /* an encoded first digit is longer than the digit */
    _cleanup_free_ char *whole = get_string(path, MIGD_IFACE_MIGRATION, "Id");
    assert_non_null(id);
    snprintf(prefix, sizeof prefix, "%.8s", whole);
    assert_done(manager_call("GetMigration", NULL, "sa{sv}", prefix, 0));
    assert_refused(call(path, MIGD_IFACE_MIGRATION, "SetOptions", NULL, "a{sv}", 1, "gate", "s", "off"),
                   ERROR("WrongState"));
    assert_refused(call(path, MIGD_IFACE_MIGRATION, "SetOptions", NULL, "a{sv}", 1, "connections", "u", 2),
                   ERROR("InvalidArgument"));
    assert_refused(call(path, MIGD_IFACE_MIGRATION, "Resolve", NULL, "sa{sv}", "perhaps", 0),
                   ERROR("InvalidArgument"));
    assert_refused(call(path, MIGD_IFACE_MIGRATION, "Resolve", NULL, "sa{sv}", "run", 0),
                   ERROR("WrongState"));
}

static void old_migrations_are_forgotten(void **state)
{
    char destination[128], first[64] = "";
    snprintf(destination, sizeof destination, "unix:%s/nobody", dir);
    assert_done(domain_call("MakeMemory", NULL, "sta{sv}", "ram0", MIB, 0));
    unsigned fds = process_fds(migd.pid);
    for (unsigned i = 0; i < 40; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *started = NULL;
        const char *path;
        assert_done(domain_call("Migrate", &started, "sa{sv}", destination, 0));
        assert_true(sd_bus_message_read(started, "o", &path) > 0);
        assert_done(call(path, MIGD_IFACE_MIGRATION, "Wait", NULL, "a{sv}", 0));
        _cleanup_free_ char *id = get_string(path, MIGD_IFACE_MIGRATION, "Id");
        if (i == 0)
            snprintf(first, sizeof first, "%s", id);
    }
    assert_refused(manager_call("GetMigration", NULL, "sa{sv}", first, 0), ERROR("NoSuchMigration"));
    assert_done(manager_call("GetMigration", NULL, "sa{sv}", "demo", 0));
    assert_int_equal(process_fds(migd.pid), fds);
}

/* ---- with a real device process ---- */

static pid_t start_simdev(const char *socket)
{
    const char *argv[] = {"simdev", "--socket", socket, "--id", "1", "--rate", "100", NULL};
    unlink(socket);
    pid_t pid = program_start(argv);
    for (int i = 0; i < 500 && access(socket, F_OK) < 0; i++)
        usleep(10000);
    return pid;
}

static bool wait_state(const char *wanted)
{
    for (int i = 0; i < 250; i++) {
        _cleanup_free_ char *s = get_string(DEMO, MIGD_IFACE_DOMAIN, "State");
        if (s && strcmp(s, wanted) == 0)
            return true;
        usleep(20000);
    }
    return false;
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

/* ---- migrations between two daemons ---- */

struct pair { /* of the one under test and a destination with a bus of its own */
    struct private_bus bus;
    struct migd_process migd;
    sd_bus *connection;
    char listen[160], source_socket[128], destination_socket[128];
    pid_t source_device, destination_device;
};

static const char *call_on(sd_bus *b, const char *path, const char *interface, const char *method,
                           const char *types, ...)
{
    static char name[128];
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    va_list ap;
    assert_true(sd_bus_message_new_method_call(b, &m, MIGD_BUS_NAME, path, interface, method) >= 0);
    va_start(ap, types);
    assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
    va_end(ap);
    if (sd_bus_call(b, m, CALL_LIMIT_USEC, &error, NULL) >= 0)
        return NULL;
    snprintf(name, sizeof name, "%s", error.name);
    return name;
}

static int connect_to(sd_bus **ret, const char *address)
{
    int r = sd_bus_new(ret);
    if (r >= 0)
        r = sd_bus_set_address(*ret, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(*ret, true);
    return r < 0 ? r : sd_bus_start(*ret);
}

static void fill_memory(int fd, uint64_t size)
{
    char page[4096];
    for (uint64_t at = 0; at < size; at += sizeof page) {
        memset(page, (int)(at >> 12 | 1), sizeof page);
        assert_int_equal(pwrite(fd, page, sizeof page, (off_t)at), sizeof page);
    }
}

#define PAIR_BYTES (64 * MIB)

/* "demo" at both, with 64 MiB that are not zero; the source's memory is a file, so that it is found again
 * after a restart. */
static void pair_start(struct pair *p)
{
    char ram[128];
    *p = (struct pair){.source_device = -1, .destination_device = -1};
    snprintf(p->listen, sizeof p->listen, "unix:%s/peer.sock", dir);
    snprintf(p->source_socket, sizeof p->source_socket, "%s/a.sock", dir);
    snprintf(p->destination_socket, sizeof p->destination_socket, "%s/b.sock", dir);
    snprintf(p->migd.runtime_dir, sizeof p->migd.runtime_dir, "%s/run2", dir);
    snprintf(ram, sizeof ram, "%s/ram", dir);
    p->migd.listen = p->listen;
    assert_int_equal(private_bus_start(&p->bus), 0);
    assert_true(connect_to(&p->connection, p->bus.address) >= 0);
    assert_int_equal(migd_start(&p->migd, p->bus.address, p->connection), 0);
    p->source_device = start_simdev(p->source_socket);
    p->destination_device = start_simdev(p->destination_socket);
    _cleanup_close_ int fd = open(ram, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, PAIR_BYTES), 0);
    fill_memory(fd, PAIR_BYTES);
    assert_done(manager_call("RegisterDomain", NULL, "sa{sv}", "demo", 0));
    assert_done(domain_call("AddMemory", NULL, "shtta{sv}", "ram0", fd, UINT64_C(0), UINT64_C(0), 2, "origin",
                            "s", ram, "iova", "at", 1, UINT64_C(0)));
    assert_done(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "s", p->source_socket, 0));
    assert_done(call_on(p->connection, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "RegisterDomain", "sa{sv}", "demo",
                        1, "incoming", "b", true));
    assert_done(call_on(p->connection, DEMO, MIGD_IFACE_DOMAIN, "MakeMemory", "sta{sv}", "ram0", PAIR_BYTES,
                        1, "iova", "at", 1, UINT64_C(0)));
    assert_done(call_on(p->connection, DEMO, MIGD_IFACE_DOMAIN, "AddUserDevice", "sva{sv}", "nic0", "s",
                        p->destination_socket, 0));
}

static void pair_stop(struct pair *p)
{
    assert_done(domain_call("Release", NULL, "a{sv}", 0));
    assert_done(call_on(p->connection, DEMO, MIGD_IFACE_DOMAIN, "Release", "a{sv}", 0));
    int status = migd_stop(&p->migd, SIGTERM);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    program_stop(&p->source_device);
    program_stop(&p->destination_device);
    sd_bus_flush_close_unref(p->connection);
    private_bus_stop(&p->bus);
}

static const char *start_migration(struct pair *p, uint64_t bandwidth)
{
    static char path[128];
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    const char *s;
    assert_done(domain_call("Migrate", &reply, "sa{sv}", p->listen, 1, "bandwidth", "t", bandwidth));
    assert_true(sd_bus_message_read(reply, "o", &s) > 0);
    snprintf(path, sizeof path, "%s", s);
    return path;
}

static bool destination_state(struct pair *p, const char *wanted)
{
    for (int i = 0; i < 250; i++) {
        _cleanup_free_ char *s = NULL;
        sd_bus_get_property_string(p->connection, MIGD_BUS_NAME, DEMO, MIGD_IFACE_DOMAIN, "State", NULL, &s);
        if (s && strcmp(s, wanted) == 0)
            return true;
        usleep(20000);
    }
    return false;
}

/* A number out of Migration.Status. */
static uint64_t status_number(const char *path, const char *key)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    const char *name;
    uint64_t value = 0;
    assert_true(sd_bus_get_property(bus, MIGD_BUS_NAME, path, MIGD_IFACE_MIGRATION, "Status", NULL, &m,
                                    "a{sv}") >= 0);
    assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
    while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
        assert_true(sd_bus_message_read(m, "s", &name) > 0);
        if (strcmp(name, key) == 0)
            assert_true(sd_bus_message_read(m, "v", "t", &value) > 0);
        else
            assert_true(sd_bus_message_skip(m, "v") >= 0);
        assert_true(sd_bus_message_exit_container(m) >= 0);
    }
    return value;
}

static int count_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    ++*(unsigned *)userdata;
    return 0;
}

static void turn_bus(uint64_t usec)
{
    for (uint64_t end = deadline_in(usec), now; (now = now_usec()) < end;)
        if (sd_bus_process(bus, NULL) == 0)
            sd_bus_wait(bus, end - now);
}

static void a_migration_is_told_of_and_cancelled(void **state)
{
    struct pair p;
    unsigned changes = 0;
    pair_start(&p);
    const char *path = start_migration(&p, 8 * MIB);
    _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
    assert_true(sd_bus_match_signal(bus, &slot, MIGD_BUS_NAME, path, "org.freedesktop.DBus.Properties",
                                    "PropertiesChanged", count_signal, &changes) >= 0);
    turn_bus(2 * USEC_PER_SEC);
    if (changes < 4 || changes > 9) /* four a second, and the first */
        fail_msg("%u times told of changes in 2 seconds", changes);
    /* It is told how far it is in the middle of a round. */
    uint64_t sent = status_number(path, "memory-processed"), left = status_number(path, "memory-remaining");
    assert_true(sent > MIB && sent < PAIR_BYTES);
    assert_true(left > 0 && left < PAIR_BYTES);
    assert_true(status_number(path, "time-remaining") > 0);
    assert_true(wait_state("migrating"));
    assert_refused(domain_call("Migrate", NULL, "sa{sv}", p.listen, 0), ERROR("WrongState"));
    assert_refused(domain_call("Release", NULL, "a{sv}", 0), ERROR("Busy"));
    assert_refused(domain_call("MakeMemory", NULL, "sta{sv}", "ram1", MIB, 0), ERROR("Busy"));
    assert_refused(
        call(path, MIGD_IFACE_MIGRATION, "SetOptions", NULL, "a{sv}", 1, "max-downtime", "t", UINT64_C(0)),
        ERROR("InvalidArgument"));
    assert_done(call(path, MIGD_IFACE_MIGRATION, "SetOptions", NULL, "a{sv}", 1, "max-downtime", "t",
                     UINT64_C(500000)));
    /* While it runs the device's address space may change. */
    assert_done(domain_call("Map", NULL, "ssttta{sv}", "nic0", "ram0", UINT64_C(0), 256 * MIB, MIB, 0));
    assert_done(domain_call("Unmap", NULL, "stta{sv}", "nic0", 256 * MIB, MIB, 0));
    assert_done(call(path, MIGD_IFACE_MIGRATION, "Cancel", NULL, "a{sv}", 0));
    assert_done(call(path, MIGD_IFACE_MIGRATION, "Wait", NULL, "a{sv}", 0));
    _cleanup_free_ char *s = get_string(path, MIGD_IFACE_MIGRATION, "State");
    assert_string_equal(s, "cancelled");
    assert_true(wait_state("running"));
    assert_true(destination_state(&p, "waiting"));
    pair_stop(&p);
}

static void the_end_of_the_daemon_ends_a_migration_in_good_order(void **state)
{
    struct pair p;
    pair_start(&p);
    start_migration(&p, 8 * MIB);
    usleep(500000);
    uint64_t begin = now_usec();
    int status = migd_stop(&migd, SIGTERM);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(now_usec() - begin < 5 * USEC_PER_SEC);
    assert_true(destination_state(&p, "waiting"));
    assert_int_equal(migd_start(&migd, private_bus.address, bus), 0);
    assert_true(wait_state("running"));
    /* and it can be done again */
    const char *path = start_migration(&p, 0);
    assert_done(call(path, MIGD_IFACE_MIGRATION, "Wait", NULL, "a{sv}", 0));
    _cleanup_free_ char *s = get_string(path, MIGD_IFACE_MIGRATION, "State");
    assert_string_equal(s, "completed");
    assert_true(wait_state("departed"));
    assert_true(destination_state(&p, "running"));
    pair_stop(&p);
}

/* ---- restart ---- */

static void saved_domains_survive_a_kill(void **state)
{
    char socket[128], ram[128];
    snprintf(socket, sizeof socket, "%s/nic.sock", dir);
    snprintf(ram, sizeof ram, "%s/ram", dir);
    pid_t simdev = start_simdev(socket);
    _cleanup_close_ int fd = open(ram, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, 4 * MIB), 0);
    assert_done(manager_call("RegisterDomain", NULL, "sa{sv}", "demo", 0));
    assert_done(domain_call("AddMemory", NULL, "shtta{sv}", "ram0", fd, UINT64_C(0), UINT64_C(0), 2, "origin",
                            "s", ram, "iova", "at", 1, UINT64_C(0)));
    assert_done(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "s", socket, 0));
    assert_done(domain_call("Map", NULL, "ssttta{sv}", "nic0", "ram0", MIB, 64 * MIB, MIB, 0));
    migd_stop(&migd, SIGKILL);
    assert_int_equal(migd_start(&migd, private_bus.address, bus), 0);
    _cleanup_free_ char *s = get_string(DEMO, MIGD_IFACE_DOMAIN, "State");
    assert_string_equal(s, "running");
    assert_done(domain_call("OpenMemory", NULL, "sa{sv}", "ram0", 0));
    assert_refused(domain_call("Map", NULL, "ssttta{sv}", "nic0", "ram0", MIB, 64 * MIB, MIB, 0),
                   ERROR("Exists"));
    /* Now without the device: what is missing is said. */
    migd_stop(&migd, SIGKILL);
    program_stop(&simdev);
    assert_int_equal(migd_start(&migd, private_bus.address, bus), 0);
    assert_true(wait_state("broken"));
    _cleanup_free_ char *problem = get_string(DEMO, MIGD_IFACE_DOMAIN, "Problem");
    assert_non_null(strstr(problem, "nic0"));
    assert_done(domain_call("Release", NULL, "a{sv}", 0));
    unlink(ram);
}

static void one_migd_for_each_runtime_directory(void **state)
{
    const char *argv[] = {"migd", "--runtime-dir", migd.runtime_dir, "--log-level", "emerg", NULL};
    int status;
    setenv("MIGD_BUS_ADDRESS", private_bus.address, true);
    pid_t second = program_start(argv);
    unsetenv("MIGD_BUS_ADDRESS");
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void without_its_bus_it_ends(void **state)
{
    struct private_bus other;
    struct migd_process lonely = {.pid = -1};
    sd_bus *connection = NULL;
    int status = -1;
    assert_int_equal(private_bus_start(&other), 0);
    snprintf(lonely.runtime_dir, sizeof lonely.runtime_dir, "%s/run3", dir);
    assert_true(connect_to(&connection, other.address) >= 0);
    assert_int_equal(migd_start(&lonely, other.address, connection), 0);
    private_bus_stop(&other);
    sd_bus_close_unref(connection);
    for (int i = 0; i < 500 && waitpid(lonely.pid, &status, WNOHANG) == 0; i++)
        usleep(10000);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
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
        r = sd_bus_set_property(own, MIGD_BUS_NAME, "/org/freedesktop/LogControl1",
                                "org.freedesktop.LogControl1", "LogLevel", &e, "s", "debug");
        _exit(r < 0 && strcmp(e.name, ERROR("NotAllowed")) == 0 ? 0 : 15);
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
    assert_true(process_status(migd.pid, "VmRSS") < 8 * 1024);
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

static int setup(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(migd.runtime_dir, sizeof migd.runtime_dir, "%s/run", dir);
    return connect_to(&bus, private_bus.address) < 0 ? -1 : migd_start(&migd, private_bus.address, bus);
}

static int teardown(void **state)
{
    char command[128];
    int status = migd_stop(&migd, SIGTERM);
    sd_bus_flush_close_unref(bus);
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        print_error("migd ended with status 0x%x\n", (unsigned)status);
        return -1;
    }
    return system(command);
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
        cmocka_unit_test_setup_teardown(a_failed_migration_stays_visible, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(devices, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(memory_of_a_pass_through_client, register_demo, release_demo),
        cmocka_unit_test(a_migration_is_told_of_and_cancelled),
        cmocka_unit_test(the_end_of_the_daemon_ends_a_migration_in_good_order),
        cmocka_unit_test(saved_domains_survive_a_kill),
        cmocka_unit_test(one_migd_for_each_runtime_directory),
        cmocka_unit_test_setup_teardown(strangers_may_look_only, register_demo, release_demo),
        cmocka_unit_test(log_control),
        cmocka_unit_test(without_its_bus_it_ends),
        cmocka_unit_test_setup_teardown(old_migrations_are_forgotten, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(ten_thousand_calls_of_garbage, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(at_rest, register_demo, release_demo),
    };
    int r = private_bus_start(&private_bus);
    if (r < 0) {
        fprintf(stderr, "no private bus: %s\n", strerror(-r));
        return r == -ENOENT ? 77 : 1;
    }
    chmod(private_bus.dir, 0755); /* for the stranger */
    r = cmocka_run_group_tests(tests, setup, teardown);
    private_bus_stop(&private_bus);
    return r;
}

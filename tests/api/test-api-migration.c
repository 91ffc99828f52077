/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migrations as a caller on the bus sees them, and the daemon's own ends: signals, a restart, a lost bus. */
#include "api-fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

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
    assert_done(manager_call("GetDomain", NULL, "sa{sv}", "demo",
                             0)); /* the answer before it, and its descriptor, are gone */
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
    assert_refused(domain_call("Migrate", NULL, "sa{sv}", p.listen, 0), ERROR("Busy"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failed_migration_stays_visible, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(old_migrations_are_forgotten, register_demo, release_demo),
        cmocka_unit_test(a_migration_is_told_of_and_cancelled),
        cmocka_unit_test(the_end_of_the_daemon_ends_a_migration_in_good_order),
        cmocka_unit_test(saved_domains_survive_a_kill),
        cmocka_unit_test(one_migd_for_each_runtime_directory),
        cmocka_unit_test(without_its_bus_it_ends),
    };
    return run_api_tests(tests, ELEMENTS(tests));
}

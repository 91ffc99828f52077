/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api-fixture.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct private_bus private_bus;
struct migd_process migd;
sd_bus *bus;
char dir[] = "/tmp/test-api-XXXXXX";

const char *call(const char *path, const char *interface, const char *method, sd_bus_message **ret_reply,
                 const char *types, ...)
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
char *get_string(const char *path, const char *interface, const char *property)
{
    char *s = NULL;
    sd_bus_get_property_string(bus, MIGD_BUS_NAME, path, interface, property, NULL, &s);
    return s;
}

int memory_fd(uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static unsigned fds_before;

int register_demo(void **state)
{
    fds_before = process_fds(migd.pid);
    assert_done(manager_call("RegisterDomain", NULL, "sa{sv}", "demo", 0));
    return 0;
}

/* Everything is given back by the time that Release is answered. */
int release_demo(void **state)
{
    assert_done(domain_call("Release", NULL, "a{sv}", 0));
    if (process_fds(migd.pid) != fds_before) {
        print_error("%u descriptors instead of %u\n", process_fds(migd.pid), fds_before);
        return -1;
    }
    return 0;
}

int connect_to(sd_bus **ret, const char *address)
{
    int r = sd_bus_new(ret);
    if (r >= 0)
        r = sd_bus_set_address(*ret, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(*ret, true);
    return r < 0 ? r : sd_bus_start(*ret);
}

pid_t start_simdev(const char *socket)
{
    const char *argv[] = {"simdev", "--socket", socket, "--id", "1", "--rate", "100", NULL};
    unlink(socket);
    pid_t pid = program_start(argv);
    for (int i = 0; i < 500 && access(socket, F_OK) < 0; i++)
        usleep(10000);
    return pid;
}

bool wait_state(const char *wanted)
{
    for (int i = 0; i < 250; i++) {
        _cleanup_free_ char *s = get_string(DEMO, MIGD_IFACE_DOMAIN, "State");
        if (s && strcmp(s, wanted) == 0)
            return true;
        usleep(20000);
    }
    return false;
}

int setup(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(migd.runtime_dir, sizeof migd.runtime_dir, "%s/run", dir);
    return connect_to(&bus, private_bus.address) < 0 ? -1 : migd_start(&migd, private_bus.address, bus);
}

int teardown(void **state)
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

int run_api_tests(const struct CMUnitTest *tests, size_t n)
{
    int r = private_bus_start(&private_bus);
    if (r < 0) {
        fprintf(stderr, "no private bus: %s\n", strerror(-r));
        return r == -ENOENT ? 77 : 1;
    }
    chmod(private_bus.dir, 0755); /* for callers that are not root */
    r = _cmocka_run_group_tests("api", tests, n, setup, teardown);
    private_bus_stop(&private_bus);
    return r;
}

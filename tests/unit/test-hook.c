/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls of libvirt's hook, on a host that is made of files: who gets which device, what is refused, and whom
 * `started` waits for. */
#include "base/clock.h"
#include "base/fds.h"
#include "host-fixture.h"
#include "libvirt/hook.h"
#include "libvirt/vm-process.h"
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define VM1 "11111111-5a5e-4f5e-8d07-0d3f3b0f1b7e"
#define VM2 "22222222-5a5e-4f5e-8d07-0d3f3b0f1b7e"

static struct host_tree tree;
static struct config config;
static struct hook *hook;
static char run_dir[300];

static int setup(void **state)
{
    tree = fixture_new();
    fixture_kernel(&tree, true, true);
    fixture_mkdir(&tree, "/proc");
    fixture_mkdir(&tree, "/run-libvirt");
    for (int i = 0; i < 3; i++) {
        char address[32];
        snprintf(address, sizeof address, "0000:3b:00.%d", i + 1);
        fixture_function(&tree, address, "15b3:101e", "020000", "vfio-pci", 10 + i);
    }
    config_init(&config);
    snprintf(run_dir, sizeof run_dir, "%s/run-libvirt", tree.root);
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(hook_new(&hook, &(struct hook_options){.run_dir = run_dir, .tree = tree}, &e), 0);
    hook_configure(hook, &config);
    return 0;
}

static int teardown(void **state)
{
    hook = hook_free(hook);
    fixture_free(&tree);
    return 0;
}

/* A domain with one device, of which the metadata tells if there is a note. */
static char *domain(const char *name, const char *uuid, const char *bus, const char *note)
{
    char *text = NULL;
    assert_true(
        asprintf(
            &text,
            "<domain><name>%s</name><uuid>%s</uuid><metadata><m:devices xmlns:m='https://migd.org/libvirt/1'>"
            "%s</m:devices></metadata><devices><hostdev mode='subsystem' type='pci'><source><address "
            "domain='0' bus='%s' slot='0' function='1'/></source></hostdev></devices></domain>",
            name, uuid, note, bus) > 0);
    return text;
}

#define NOTE "<m:device address='0000:17:00.1' vendor='0x15b3' device='0x101e'/>"

static int call(const char *name, const char *operation, const char *xml, char **ret_xml, struct mig_error *e)
{
    _cleanup_(hook_call_freep) struct hook_call *c = NULL;
    *e = MIG_ERROR_INIT;
    int r = hook_begin(hook, name, operation, "begin", "-", xml, &c, e);
    if (r < 0)
        return r;
    assert_true(hook_is_running(hook, name));
    r = hook_run(c, -1, e);
    if (r == 0)
        r = hook_finish(c, e);
    if (r == 0 && ret_xml)
        assert_non_null(*ret_xml = strdup(hook_call_xml(c)));
    return r;
}

/* The address that a domain gets at `migrate`: "0x3b 0x1". */
static void expect_device(const char *name, const char *xml, const char *function)
{
    struct mig_error e;
    char wanted[64];
    _cleanup_free_ char *text = NULL;
    if (call(name, "migrate", xml, &text, &e) < 0)
        fail_msg("%s: %s", name, e.message);
    assert_false(hook_is_running(hook, name));
    snprintf(wanted, sizeof wanted, "bus=\"0x3b\" slot=\"0x00\" function=\"%s\"", function);
    if (!strstr(text, wanted))
        fail_msg("%s got %s", name, text);
}

static void each_gets_a_device_of_its_own(void **state)
{
    struct mig_error e;
    _cleanup_free_ char *one = domain("vm1", VM1, "0x17", NOTE), *two = domain("vm2", VM2, "0x17", NOTE);
    expect_device("vm1", one, "0x1");
    expect_device("vm2", two, "0x2");
    expect_device("vm1", one, "0x1"); /* once more: what it has reserved is its own */
    assert_int_equal(call("vm1", "prepare", one, NULL, &e), 0);
    assert_int_equal(call("vm1", "started", one, NULL, &e), 0);
    assert_int_equal(call("vm1", "stopped", one, NULL, &e), 0);
    assert_int_equal(call("vm1", "release", one, NULL, &e), 0);
    _cleanup_free_ char *three = domain("vm3", "33333333-5a5e-4f5e-8d07-0d3f3b0f1b7e", "0x17", NOTE);
    expect_device("vm3", three, "0x1");
}

static void a_guest_that_does_not_come(void **state)
{
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_free_ char *one = domain("vm1", VM1, "0x17", NOTE), *two = domain("vm2", VM2, "0x17", NOTE);
    assert_int_equal(config_set(&config, "Libvirt", "ReservationTimeout", "1us", "test", &e), 0);
    hook_configure(hook, &config);
    expect_device("vm1", one, "0x1");
    usleep(1000);
    expect_device("vm2", two, "0x1");
}

static void what_cannot_be_given_is_refused(void **state)
{
    struct mig_error e = MIG_ERROR_INIT;
    _cleanup_free_ char *other =
        domain("vm1", VM1, "0x17", "<m:device address='0000:17:00.1' vendor='0x8086' device='0x101e'/>");
    assert_int_equal(call("vm1", "migrate", other, NULL, &e), -ENOENT);
    assert_non_null(strstr(e.message, "3 of another vendor"));

    /* Nothing is known: an address that is free stays, one that is reserved is refused, one that is not here
     * is libvirt's business. */
    _cleanup_free_ char *bare = domain("vm1", VM1, "0x3b", ""), *same = domain("vm2", VM2, "0x3b", ""),
                        *text = NULL;
    assert_int_equal(call("vm1", "migrate", bare, &text, &e), 0);
    assert_string_equal(text, "");
    assert_int_equal(call("vm2", "migrate", same, NULL, &e), -EBUSY);
    assert_non_null(strstr(e.message, "a reservation for vm1"));
    _cleanup_free_ char *nowhere = domain("vm2", VM2, "0x99", ""), *unchanged = NULL;
    assert_int_equal(call("vm2", "migrate", nowhere, &unchanged, &e), 0);
    assert_string_equal(unchanged, "");

    assert_int_equal(config_set(&config, "Libvirt", "MatchDevices", "off", "test", &e), 0);
    hook_configure(hook, &config);
    _cleanup_free_ char *noted = domain("vm4", VM2, "0x17", NOTE), *kept = NULL;
    assert_int_equal(call("vm4", "migrate", noted, &kept, &e), 0);
    assert_string_equal(kept, "");
}

static void words_of_libvirt(void **state)
{
    struct mig_error e;
    assert_int_equal(call("vm1", "dance", "<domain/>", NULL, &e), -EINVAL);
    assert_int_equal(call("", "migrate", "<domain/>", NULL, &e), -EINVAL);
    assert_int_equal(call("../x", "migrate", "<domain/>", NULL, &e), -EINVAL);
    assert_int_equal(call("vm1", "migrate", "nonsense", NULL, &e), -EINVAL);
    assert_int_equal(call("vm1", "reconnect", "<domain/>", NULL, &e), 0);
    config.match_devices[0] = 'x';
    assert_int_equal(hook_check_configuration(&config, &e), -EINVAL);
    assert_int_equal(config_set(&config, "Libvirt", "MatchDevices", "vendor", "test", &e), 0);
    assert_int_equal(config_set(&config, "Libvirt", "DeviceLabels", "x", "test", &e), 0);
    assert_int_equal(hook_check_configuration(&config, &e), -EINVAL);
}

/* ---- the barrier ---- */

static struct seen {
    unsigned arriving, told;
    pid_t pid;
    int answer;
    bool waits; /* until it is told to give up */
} seen;

static int arriving(const struct hook_event *event, int cancel_fd, void *userdata, struct mig_error *err)
{
    struct seen *s = userdata;
    s->arriving++;
    s->pid = event->pid;
    assert_true(event->incoming && event->operation == HOOK_STARTED);
    assert_string_equal(event->uuid, VM1);
    struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
    if (s->waits && poll(&p, 1, 30000) == 1)
        return mig_error_set(err, MIG_ERR_CANCELLED, 0, "it was told to give up");
    return s->answer ? mig_error_set(err, MIG_ERR_PEER_LOST, 0, "its memory did not come") : 0;
}

static void told(const struct hook_event *event, void *userdata)
{
    ((struct seen *)userdata)->told++;
}

static pid_t processes[4];
static unsigned n_processes;

/* A process whose arguments are these, as a QEMU that libvirt started. */
static pid_t start_process(const char *argument)
{
    char path[400], number[24];
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "read x", "qemu", argument, "defer", NULL);
        _exit(127);
    }
    processes[n_processes++] = pid;
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    for (unsigned i = 0; i < 3000; i++) { /* until it is not this program any more */
        char text[200] = "";
        FILE *f = fopen(path, "r");
        size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f)
            fclose(f);
        if (n > 3 && strcmp(text, "sh") == 0)
            break;
        usleep(10000);
    }
    snprintf(number, sizeof number, "%d", (int)pid);
    fixture_put(&tree, number, "/run-libvirt/vm1.pid");
    return pid;
}

static void *run_started(void *result)
{
    struct mig_error e;
    _cleanup_free_ char *xml = domain("vm1", VM1, "0x17", "");
    _cleanup_(hook_call_freep) struct hook_call *c = NULL;
    assert_int_equal(hook_begin(hook, "vm1", "started", "begin", "-", xml, &c, &e), 0);
    *(int *)result = hook_run(c, -1, &e);
    return NULL;
}

static void a_guest_that_comes_in_waits(void **state)
{
    struct mig_error e;
    _cleanup_free_ char *xml = domain("vm1", VM1, "0x17", "");
    int pipe_fds[2], old = dup(STDIN_FILENO);
    assert_int_equal(pipe(pipe_fds), 0);
    dup2(pipe_fds[0], STDIN_FILENO); /* what the processes wait for */
    seen = (struct seen){.answer = 0};
    hook_set_ops(hook, &(struct hook_ops){arriving, told, &seen});

    /* One that was started here, not moved here. */
    pid_t pid = start_process("-plain");
    assert_int_equal(call("vm1", "started", xml, NULL, &e), 0);
    assert_int_equal(seen.arriving, 0);
    assert_int_equal(seen.told, 1);
    assert_int_equal(hook_domain_pid(hook, "vm1"), pid);
    assert_int_equal(call("vm1", "stopped", xml, NULL, &e), 0);
    assert_int_equal(hook_domain_pid(hook, "vm1"), 0);

    pid = start_process("-incoming");
    assert_int_equal(call("vm1", "started", xml, NULL, &e), 0);
    assert_int_equal(seen.arriving, 1);
    assert_int_equal(seen.pid, pid);
    seen.answer = -1;
    assert_int_equal(call("vm1", "started", xml, NULL, &e), -ECONNRESET);
    assert_int_equal(seen.arriving, 2);
    assert_int_equal(seen.told, 3); /* not of a failure */
    assert_int_equal(call("vm1", "reconnect", xml, NULL, &e), 0);
    assert_int_equal(seen.arriving, 2);

    /* A save file is no migration. */
    assert_int_equal(call("vm1", "restore", "<domain/>", NULL, &e), 0);
    assert_int_equal(call("vm1", "started", xml, NULL, &e), 0);
    assert_int_equal(seen.arriving, 2);
    assert_int_equal(call("vm1", "release", xml, NULL, &e), 0);

    /* Its hook was killed: libvirt gives up, and so must whoever waits. */
    seen.waits = true;
    int result = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_started, &result), 0);
    for (unsigned i = 0; i < 3000 && !hook_is_running(hook, "vm1"); i++)
        usleep(10000);
    uint64_t begin = now_usec();
    assert_int_equal(call("vm1", "stopped", xml, NULL, &e), 0);
    pthread_join(thread, NULL);
    assert_int_equal(result, -ECANCELED);
    assert_true(now_usec() - begin < 20000000);

    for (unsigned i = 0; i < n_processes; i++) {
        kill(processes[i], SIGKILL);
        assert_int_equal(waitpid(processes[i], NULL, 0), processes[i]);
    }
    dup2(old, STDIN_FILENO);
    close(old);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Whether a QEMU has ended, by each of the two ways in which that is seen, and which process is none. */
static void the_process_of_a_guest(void **state)
{
    char path[400], text[32];
    assert_int_equal(vm_process_open(hook, "vm", VM1).pidfd, -1); /* libvirt has none */
    pid_t pid = fork();
    if (pid == 0)
        _exit(execl("/bin/sh", "sh", "-c", "kill -STOP $$", VM1, (char *)NULL));
    snprintf(path, sizeof path, "%s/vm.pid", run_dir);
    snprintf(text, sizeof text, "%d\n", (int)pid);
    assert_int_equal(write_file_atomic(path, text, strlen(text)), 0);
    for (int n = 0; n < 6000 && hook_find_process(hook, "vm", VM1) != pid; n++)
        usleep(10000); /* until it is the shell, and no copy of us */
    struct vm_process p = vm_process_open(hook, "vm", VM1), other = vm_process_open(hook, "vm", VM2);
    assert_true(p.pidfd >= 0 && p.stat_fd >= 0);
    assert_int_equal(other.pidfd, -1); /* the number is that of another guest's by now */
    assert_false(vm_process_has_ended(&p));
    assert_false(vm_process_has_ended(&other));
    struct vm_process never = {.pidfd = eventfd(0, EFD_CLOEXEC), .stat_fd = fd_dup(p.stat_fd)};
    assert_int_equal(kill(pid, SIGKILL), 0);
    for (int n = 0; n < 6000 && !(vm_process_has_ended(&p) && vm_process_has_ended(&never)); n++)
        usleep(10000);
    assert_true(vm_process_has_ended(&p));
    assert_true(vm_process_has_ended(&never)); /* its flags say so, before it can be waited for */
    waitpid(pid, NULL, 0);
    assert_true(vm_process_has_ended(&never)); /* there is no such process any more */
    vm_process_close(&p);
    vm_process_close(&never);
    vm_process_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_gets_a_device_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_guest_that_does_not_come, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_given_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(words_of_libvirt, setup, teardown),
        cmocka_unit_test_setup_teardown(a_guest_that_comes_in_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(the_process_of_a_guest, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

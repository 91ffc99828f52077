/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Manager.ListDevices of a real daemon. What this host has is not known here: only that every answer has its
 * shape, that nobody waits for it, and that nothing is left behind. */
#include "api-fixture.h"

static const char *list(sd_bus_message **ret_reply, bool all, bool probe)
{
    return manager_call("ListDevices", ret_reply, "a{sv}", 2, "all", "b", all, "probe", "b", probe);
}

/* An aa{sv}; each entry has the keys, which are strings. Returns how many there are. */
static size_t check_entries(sd_bus_message *m, const char *const *keys, size_t nkeys)
{
    size_t n = 0;
    assert_true(sd_bus_message_enter_container(m, 'a', "a{sv}") > 0);
    while (sd_bus_message_enter_container(m, 'a', "{sv}") > 0) {
        size_t found = 0;
        const char *key, *value;
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
            bool wanted = false;
            assert_true(sd_bus_message_read(m, "s", &key) > 0);
            for (size_t i = 0; i < nkeys; i++)
                wanted |= strcmp(keys[i], key) == 0;
            found += wanted;
            if (wanted)
                assert_true(sd_bus_message_read(m, "v", "s", &value) > 0);
            else
                assert_true(sd_bus_message_skip(m, "v") > 0);
            assert_true(sd_bus_message_exit_container(m) > 0);
        }
        assert_int_equal(found, nkeys);
        assert_true(sd_bus_message_exit_container(m) > 0);
        n++;
    }
    assert_true(sd_bus_message_exit_container(m) > 0);
    return n;
}

static void the_answer_has_its_shape(void **state)
{
    static const char *const of_device[] = {"address", "kind", "probe", "verdict", "reason"};
    static const char *const of_finding[] = {"code", "severity", "side", "subject", "message", "remedy"};
    for (int i = 0; i < 2; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        assert_done(list(&reply, i, false));
        size_t devices = check_entries(reply, of_device, ELEMENTS(of_device));
        size_t findings = check_entries(reply, of_finding, ELEMENTS(of_finding));
        assert_true(devices + findings > 0); /* a host without devices is told why */
        assert_true(sd_bus_message_at_end(reply, true) > 0);
    }
}

static void what_is_refused(void **state)
{
    assert_refused(manager_call("ListDevices", NULL, "a{sv}", 1, "al", "b", true), ERROR("InvalidArgument"));
    assert_refused(manager_call("ListDevices", NULL, "a{sv}", 1, "addresses", "s", "0000:17"),
                   ERROR("InvalidArgument"));
    assert_refused(manager_call("ListDevices", NULL, "a{sv}", 1, "addresses", "s", "../../etc/passwd"),
                   ERROR("InvalidArgument"));
    assert_refused(manager_call("ListDevices", NULL, "a{sv}", 1, "addresses", "s", "ffffffff:ff:1f.7"),
                   ERROR("NoSuchObject"));
    char many[300 * 8] = "";
    for (size_t n = 0; n + 8 < sizeof many; n += 8)
        memcpy(many + n, "00:00.0 ", 9);
    assert_refused(manager_call("ListDevices", NULL, "a{sv}", 1, "addresses", "s", many),
                   ERROR("LimitExceeded"));
    char long_one[4000];
    memset(long_one, 'f', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    assert_refused(manager_call("ListDevices", NULL, "a{sv}", 1, "addresses", "s", long_one),
                   ERROR("InvalidArgument"));
}

static int answered(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    ++*(unsigned *)userdata;
    return sd_bus_message_is_method_error(m, NULL) ? -EIO : 0;
}

static void many_at_once_hold_up_nobody(void **state)
{
    unsigned lists = 0;
    for (int i = 0; i < 20; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        assert_true(sd_bus_message_new_method_call(bus, &m, MIGD_BUS_NAME, MIGD_BUS_ROOT, MIGD_IFACE_MANAGER,
                                                   "ListDevices") >= 0);
        assert_true(sd_bus_message_append(m, "a{sv}", 1, "probe", "b", 0) >= 0);
        assert_true(sd_bus_call_async(bus, NULL, m, answered, &lists, 60 * USEC_PER_SEC) >= 0);
    }
    _cleanup_free_ char *version = get_string(MIGD_BUS_ROOT, MIGD_IFACE_MANAGER, "Version");
    assert_non_null(version);
    for (uint64_t until = now_usec() + 60 * USEC_PER_SEC; lists < 20 && now_usec() < until;) {
        int r = sd_bus_process(bus, NULL);
        assert_true(r >= 0);
        if (r == 0)
            assert_true(sd_bus_wait(bus, USEC_PER_SEC) >= 0);
    }
    assert_int_equal(lists, 20);
}

static void beside_a_domain_with_a_user_device(void **state)
{
    char socket[128];
    snprintf(socket, sizeof socket, "%s/nic.sock", dir);
    pid_t simdev = start_simdev(socket);
    assert_done(domain_call("AddUserDevice", NULL, "sva{sv}", "nic0", "s", socket, 0));
    assert_done(list(NULL, true, true));
    assert_done(domain_call("Release", NULL, "a{sv}", 0));
    program_stop(&simdev);
    assert_done(manager_call("RegisterDomain", NULL, "sa{sv}", "demo", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_answer_has_its_shape, register_demo, release_demo),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test_setup_teardown(many_at_once_hold_up_nobody, register_demo, release_demo),
        cmocka_unit_test_setup_teardown(beside_a_domain_with_a_user_device, register_demo, release_demo),
    };
    return run_api_tests(tests, ELEMENTS(tests));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings as they go over the bus, and text that the bus would not take. */
#include "api/api-findings.h"
#include "base/printable.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void printable(const char *in, const char *want)
{
    char text[64];
    snprintf(text, sizeof text, "%s", in);
    assert_string_equal(make_printable(text), want);
}

static void text_from_outside(void **state)
{
    printable("qemu-system-x86", "qemu-system-x86");
    printable("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
              "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    printable("a\nb\x1b[2J\x7f", "a?b?[2J?");
    printable("cut \xe2\x82", "cut ??");
    printable("cut \xc3", "cut ?");
    printable("\xff\xfe\x80 x", "??? x");
    printable("\xc0\xaf \xe0\x80\xaf \xed\xa0\x80 \xf4\x90\x80\x80", "?? ??? ??? ????");
    printable("\xc2\x9b\x31m", "??1m"); /* the one-character form of ESC [ */
    printable("", "");
}

static void findings_on_the_bus(void **state)
{
    _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    struct findings f = {0};
    struct finding told = {.code = FINDING_CODE_MAX,
                           .word = "from-a-newer-peer",
                           .severity = FINDING_WARNING,
                           .destination = true,
                           .subject = "nic0",
                           .message = "It is \xe2\x82",
                           .remedy = "Wait"};
    assert_int_equal(findings_add(&f, FINDING_DEVICE_NO_MIGRATION, "0000:17:00.1", "Do this",
                                  "Device %s cannot", "0000:17:00.1"),
                     0);
    assert_int_equal(findings_add_item(&f, &told), 0);
    /* A bus that is never connected: messages can be made for it. */
    assert_true(sd_bus_new(&bus) >= 0);
    assert_true(sd_bus_set_address(bus, "unix:path=/nonexistent") >= 0);
    int pair[2];
    assert_int_equal(pipe(pair), 0);
    assert_true(sd_bus_set_fd(bus, pair[0], pair[1]) >= 0 && sd_bus_start(bus) >= 0);
    assert_true(sd_bus_message_new_signal(bus, &m, "/a", "a.b", "C") >= 0);
    assert_true(api_append_findings(m, &f) >= 0);
    assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
    assert_true(sd_bus_message_rewind(m, true) >= 0);
    static const char *const want[2][6] = {
        {"device-no-migration", "error", "source", "0000:17:00.1", "Device 0000:17:00.1 cannot", "Do this"},
        {"from-a-newer-peer", "warning", "destination", "nic0", "It is ??", "Wait"}};
    static const char *const keys[] = {"code", "severity", "side", "subject", "message", "remedy"};
    assert_true(sd_bus_message_enter_container(m, 'a', "a{sv}") > 0);
    for (size_t i = 0; i < 2; i++) {
        assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
        for (size_t k = 0; k < 6; k++) {
            const char *key, *value;
            assert_true(sd_bus_message_read(m, "{sv}", &key, "s", &value) > 0);
            assert_string_equal(key, keys[k]);
            assert_string_equal(value, want[i][k]);
        }
        const char *key;
        int waivable;
        assert_true(sd_bus_message_read(m, "{sv}", &key, "b", &waivable) > 0);
        assert_string_equal(key, "waivable");
        assert_false(waivable);
        assert_true(sd_bus_message_exit_container(m) > 0);
    }
    assert_true(sd_bus_message_at_end(m, false) > 0);
    findings_clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_from_outside),
        cmocka_unit_test(findings_on_the_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

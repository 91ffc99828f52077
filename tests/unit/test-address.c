/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "transport/address.h"
#include "migd-bus.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void test_good(void **state)
{
    static const struct {
        const char *text, *host, *path, *again;
        unsigned port;
    } cases[] = {
        {"host", "host", "", "host:16509", MIGD_DEFAULT_PORT},
        {"host-1.example.org:17", "host-1.example.org", "", "host-1.example.org:17", 17},
        {"10.0.0.2:0", "10.0.0.2", "", "10.0.0.2:0", 0},
        {"10.0.0.2:65535", "10.0.0.2", "", "10.0.0.2:65535", 65535},
        {"[fe80::1%eth0]:7", "fe80::1%eth0", "", "[fe80::1%eth0]:7", 7},
        {"[::1]", "::1", "", "[::1]:16509", MIGD_DEFAULT_PORT},
        {":4000", "", "", "*:4000", 4000},
        {"*:4000", "", "", "*:4000", 4000},
        {"unix:/run/migd/peer", "", "/run/migd/peer", "unix:/run/migd/peer", 0},
        {"/run/migd/peer:1", "", "/run/migd/peer:1", "unix:/run/migd/peer:1", 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct address a;
        char text[ADDRESS_TEXT_MAX];
        assert_int_equal(address_parse(&a, cases[i].text, NULL), 0);
        assert_int_equal(a.is_unix, cases[i].path[0] != '\0');
        assert_string_equal(a.path, cases[i].path);
        assert_string_equal(a.host, cases[i].host);
        if (!a.is_unix)
            assert_int_equal(a.port, cases[i].port);
        address_format(&a, text, sizeof text);
        assert_string_equal(text, cases[i].again);
        struct address b;
        assert_int_equal(address_parse(&b, text, NULL), 0);
        assert_int_equal(a.port, b.port);
        assert_string_equal(a.host, b.host);
        assert_string_equal(a.path, b.path);
    }
}

static void test_bad(void **state)
{
    char long_host[400], long_path[200];
    memset(long_host, 'a', sizeof long_host);
    long_host[sizeof long_host - 1] = '\0';
    memset(long_path, '/', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    const char *const cases[] = {
        "",      "host:",         "host:65536", "host:-1",       "host:1x", "host: 1", "host:123456",
        "::1",   "fe80::1:16509", "[::1",       "[]:1",          "[::1]x",  "[::1]:",  "ho st",
        "a/b:1", "a@b",           "unix:",      "unix:relative", "a\nb",    long_host, long_path,
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct address a;
        struct mig_error err = MIG_ERROR_INIT;
        if (address_parse(&a, cases[i], &err) != -EINVAL)
            fail_msg("\"%s\" was taken", cases[i]);
        assert_int_equal(err.code, MIG_ERR_INVALID_ARGUMENT);
        assert_true(err.hint[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

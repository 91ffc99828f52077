/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/format.h"
#include "base/parse.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct row {
    const char *text;
    int result;
    uint64_t value;
};

static void check_rows(int (*parse)(const char *, uint64_t *), const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = 77;
        int r = parse(rows[i].text, &v);
        if (r != rows[i].result || v != (r < 0 ? 77 : rows[i].value))
            fail_msg("\"%s\" gave %d, %llu", rows[i].text, r, (unsigned long long)v);
    }
}

static void sizes(void **state)
{
    static const struct row rows[] = {
        {"0", 0, 0},
        {"4096", 0, 4096},
        {"4K", 0, 4096},
        {"4k", 0, 4096},
        {"1.5G", 0, UINT64_C(1610612736)},
        {"512MiB", 0, UINT64_C(536870912)},
        {"2TB", 0, UINT64_C(2) << 40},
        {"17B", 0, 17},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999P", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 G", -EINVAL, 0},
        {"G", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {"1.G", -EINVAL, 0},
        {"1GG", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"4K/s", -EINVAL, 0},
    };
    check_rows(parse_size, rows, ELEMENTS(rows));
}

static void times(void **state)
{
    static const struct row rows[] = {
        {"250us", 0, 250},
        {"300ms", 0, 300000},
        {"1.5s", 0, 1500000},
        {"2min", 0, 120000000},
        {"0", 0, 0},
        {"300", -EINVAL, 0},
        {"5 s", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"1h", 0, UINT64_C(3600000000)},
        {"99999999999999999h", -ERANGE, 0},
    };
    check_rows(parse_usec, rows, ELEMENTS(rows));
}

static void addresses(void **state)
{
    static const struct row rows[] = {
        {"0x0", 0, 0},      {"0x100000000", 0, UINT64_C(1) << 32},
        {"0XfF", 0, 255},   {"4096", 0, 4096},
        {"0x", -EINVAL, 0}, {"0x1g", -EINVAL, 0},
        {"", -EINVAL, 0},   {"0x10000000000000000", -ERANGE, 0},
        {"ff", -EINVAL, 0},
    };
    check_rows(parse_address, rows, ELEMENTS(rows));
}

static void rates(void **state)
{
    static const struct row rows[] = {
        {"0", 0, 0},
        {"100M", 0, 104857600},
        {"100M/s", 0, 104857600},
        {"10Gbit", 0, 1250000000},
        {"2.5Gbit/s", 0, 312500000},
        {"800mbit", 0, 100000000},
        {"10Gbps", -EINVAL, 0},
        {"fast", -EINVAL, 0},
    };
    check_rows(parse_rate, rows, ELEMENTS(rows));
}

static void words(void **state)
{
    bool b = false;
    assert_int_equal(parse_bool("yes", &b), 0);
    assert_true(b);
    assert_int_equal(parse_bool("Off", &b), 0);
    assert_false(b);
    assert_int_equal(parse_bool("maybe", &b), -EINVAL);
    uint64_t v = 5;
    assert_int_equal(parse_unsigned("8", 7, &v), -ERANGE);
    assert_int_equal(v, 5);
    assert_int_equal(parse_unsigned("7", 7, &v), 0);
    assert_int_equal(v, 7);
}

static void formats(void **state)
{
    assert_string_equal(FORMAT_BYTES(0), "0 B");
    assert_string_equal(FORMAT_BYTES(512), "512 B");
    assert_string_equal(FORMAT_BYTES(4096), "4.0 KiB");
    assert_string_equal(FORMAT_BYTES(UINT64_C(3) << 29), "1.5 GiB");
    assert_string_equal(FORMAT_BYTES(1048575), "1.0 MiB");
    assert_string_equal(FORMAT_BYTES(UINT64_MAX), "16.0 EiB");
    assert_string_equal(FORMAT_RATE(1 << 20), "1.0 MiB/s");
    assert_string_equal(FORMAT_USEC(850), "850 us");
    assert_string_equal(FORMAT_USEC(12340), "12.3 ms");
    assert_string_equal(FORMAT_USEC(999999), "1.00 s");
    assert_string_equal(FORMAT_USEC(4560000), "4.56 s");
    assert_string_equal(FORMAT_USEC(UINT64_C(125000000)), "2 min 05 s");
    assert_string_equal(FORMAT_USEC(UINT64_C(11220000000)), "3 h 07 min");
    assert_string_equal(FORMAT_USEC(UINT64_MAX), "unlimited");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes), cmocka_unit_test(times), cmocka_unit_test(addresses),
        cmocka_unit_test(rates), cmocka_unit_test(words), cmocka_unit_test(formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

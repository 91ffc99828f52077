/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long a source may take, by a clock of the test's. */
#include "incoming/patience.h"
#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define MIN_USEC (60 * USEC_PER_SEC)

static void progress_is_what_keeps_it(void **state)
{
    struct patience p = {.limits = {5 * MIN_USEC, USEC_INFINITY}};
    struct mig_error err = MIG_ERROR_INIT;
    for (uint64_t t = 1; t < 1000; t++) /* a frame in each four minutes */
        assert_int_equal(patience_look(&p, t * 4 * MIN_USEC, t, false, &err), 0);
    uint64_t last = 999 * 4 * MIN_USEC;
    assert_int_equal(patience_look(&p, last + 5 * MIN_USEC - 1, 999, false, &err), 0);
    assert_int_equal(patience_look(&p, last + 5 * MIN_USEC, 999, false, &err), -ETIME);
    assert_int_equal(err.code, MIG_ERR_TIMED_OUT);
    assert_non_null(strstr(err.message, "brought nothing"));
}

static void time_in_which_nothing_can_come_does_not_count(void **state)
{
    struct patience p = {.limits = {5 * MIN_USEC, USEC_INFINITY}};
    assert_int_equal(patience_look(&p, MIN_USEC, 7, false, NULL), 0);
    assert_int_equal(patience_look(&p, 59 * MIN_USEC, 7, true, NULL), 0);
    assert_int_equal(patience_look(&p, 63 * MIN_USEC, 7, false, NULL), 0);
    assert_int_equal(patience_look(&p, 64 * MIN_USEC, 7, false, NULL), -ETIME);
}

static void all_of_it_has_a_limit(void **state)
{
    struct patience p = {.limits = {5 * MIN_USEC, 60 * MIN_USEC}};
    struct mig_error err = MIG_ERROR_INIT;
    for (uint64_t t = 1; t <= 60; t++)
        assert_int_equal(patience_look(&p, t * MIN_USEC, t, false, &err), 0);
    assert_int_equal(patience_look(&p, 61 * MIN_USEC, 61, true, &err), -ETIME);
    assert_non_null(strstr(err.hint, "ReceiveTimeout="));
}

static void without_limits_nobody_looks(void **state)
{
    struct patience p = {.limits = {USEC_INFINITY, USEC_INFINITY}};
    assert_true(patience_interval_usec(&p) == USEC_INFINITY);
    assert_int_equal(patience_look(&p, 1, 0, false, NULL), 0);
    assert_int_equal(patience_look(&p, UINT64_MAX - 1, 0, false, NULL), 0);
    p.limits.receive_usec = 1; /* not so often that it costs anything */
    assert_true(patience_interval_usec(&p) >= 10 * USEC_PER_MSEC);
    p.limits = (struct patience_limits){5 * MIN_USEC, USEC_INFINITY}; /* and not much later than it says */
    assert_true(patience_interval_usec(&p) <= 10 * USEC_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_is_what_keeps_it),
        cmocka_unit_test(time_in_which_nothing_can_come_does_not_count),
        cmocka_unit_test(all_of_it_has_a_limit),
        cmocka_unit_test(without_limits_nobody_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

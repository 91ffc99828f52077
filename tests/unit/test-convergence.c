/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Recorded and made-up histories of rounds, and what must be decided of them (R9). */
#include "outgoing/convergence.h"
#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static struct convergence_result decide(const struct convergence_round *rounds, size_t n,
                                        uint64_t max_downtime_msec, uint64_t state_bytes, uint64_t cap)
{
    const struct convergence_input in = {.rounds = rounds,
                                         .nrounds = n,
                                         .device_state_bytes = state_bytes,
                                         .fixed_usec = 10 * USEC_PER_MSEC,
                                         .max_downtime_usec = max_downtime_msec * USEC_PER_MSEC,
                                         .bandwidth_cap = cap};
    struct convergence_result r;
    convergence_decide(&in, &r);
    return r;
}

/* sent, duration ms, dirty after it */
static struct convergence_round round_of(uint64_t sent, uint64_t msec, uint64_t dirty)
{
    return (struct convergence_round){sent, msec * USEC_PER_MSEC, dirty, msec * USEC_PER_MSEC};
}

static void test_quiet_workload_switches_at_once(void **state)
{
    struct convergence_round r[] = {round_of(GIB, 500, 4 * MIB)};
    struct convergence_result c = decide(r, 1, 300, 0, 0);
    assert_int_equal(c.decision, CONVERGENCE_SWITCH_OVER);
    assert_int_equal(c.bandwidth, 2 * GIB);
    assert_in_range(c.expected_downtime_usec, 10000, 13000);
    assert_int_equal(c.dirty_rate, 8 * MIB);
}

/* What can be packed to a quarter takes a quarter of the time; device state is not packed. */
static void test_packed_memory(void **state)
{
    struct convergence_round r = round_of(256 * MIB, 1000, 100 * MIB);
    r.saved_bytes = 768 * MIB;
    struct convergence_result c = decide(&r, 1, 300, 0, 0);
    assert_int_equal(c.bandwidth, 256 * MIB);
    assert_in_range(c.expected_downtime_usec, 97000, 108000);
    c = decide(&r, 1, 300, 64 * MIB, 0);
    assert_in_range(c.expected_downtime_usec, 347000, 358000);
}

static void test_shrinking_goes_on(void **state)
{
    struct convergence_round r[] = {round_of(16 * GIB, 8000, 8 * GIB), round_of(8 * GIB, 4000, 4 * GIB),
                                    round_of(4 * GIB, 2000, 2 * GIB), round_of(2 * GIB, 1000, GIB),
                                    round_of(GIB, 500, GIB / 2)};
    for (size_t n = 1; n < 5; n++)
        assert_int_equal(decide(r, n, 300, 0, 0).decision, CONVERGENCE_ANOTHER_ROUND);
    assert_int_equal(decide(r, 5, 300, 0, 0).decision, CONVERGENCE_SWITCH_OVER);
}

/* A device that writes as fast as the link: known after at most three rounds. */
static void test_fast_writer_is_stalled_within_three_rounds(void **state)
{
    struct convergence_round r[] = {round_of(GIB, 500, GIB), round_of(GIB, 500, GIB),
                                    round_of(GIB, 500, GIB)};
    assert_int_equal(decide(r, 1, 300, 0, 0).decision, CONVERGENCE_ANOTHER_ROUND);
    assert_int_equal(decide(r, 2, 300, 0, 0).decision, CONVERGENCE_ANOTHER_ROUND);
    assert_int_equal(decide(r, 3, 300, 0, 0).decision, CONVERGENCE_STALLED);
}

static void test_stall_after_progress(void **state)
{
    struct convergence_round r[] = {round_of(8 * GIB, 4000, 4 * GIB), round_of(4 * GIB, 2000, 2 * GIB),
                                    round_of(2 * GIB, 1000, 2 * GIB), round_of(2 * GIB, 1000, 2 * GIB),
                                    round_of(2 * GIB, 1000, 2 * GIB)};
    assert_int_equal(decide(r, 2, 300, 0, 0).decision, CONVERGENCE_ANOTHER_ROUND);
    assert_int_equal(decide(r, 4, 300, 0, 0).decision, CONVERGENCE_ANOTHER_ROUND);
    assert_int_equal(decide(r, 5, 300, 0, 0).decision, CONVERGENCE_STALLED);
}

/* A working set that comes and goes is taken at its low point, and a high point is not taken for a stall. */
static void test_oscillation_is_caught_low(void **state)
{
    struct convergence_round r[] = {round_of(4 * GIB, 2000, 2 * GIB), round_of(2 * GIB, 1000, 3 * GIB),
                                    round_of(3 * GIB, 1500, GIB), round_of(GIB, 500, 2 * GIB),
                                    round_of(2 * GIB, 1000, 100 * MIB)};
    for (size_t n = 1; n < 5; n++)
        assert_int_equal(decide(r, n, 300, 0, 0).decision, CONVERGENCE_ANOTHER_ROUND);
    assert_int_equal(decide(r, 5, 300, 0, 0).decision, CONVERGENCE_SWITCH_OVER);
}

static void test_device_state_counts(void **state)
{
    struct convergence_round r[] = {round_of(GIB, 500, 0)};
    assert_int_equal(decide(r, 1, 300, GIB / 4, 0).decision, CONVERGENCE_SWITCH_OVER);
    /* 1 GiB of state at 2 GiB/s is half a second, and no round makes it smaller. */
    assert_int_equal(decide(r, 1, 300, GIB, 0).decision, CONVERGENCE_STALLED);
}

static void test_cap_holds_in_the_blackout(void **state)
{
    struct convergence_round r[] = {round_of(GIB, 500, 100 * MIB)};
    assert_int_equal(decide(r, 1, 300, 0, 0).decision, CONVERGENCE_SWITCH_OVER);
    assert_int_equal(decide(r, 1, 300, 0, 100 * MIB).decision, CONVERGENCE_ANOTHER_ROUND);
}

/* Later rounds are small: their speed is latency. The estimate stays with the last large one. */
static void test_small_rounds_say_nothing_of_bandwidth(void **state)
{
    struct convergence_round r[] = {round_of(GIB, 500, 40 * MIB), round_of(64 * 1024, 20, 40 * MIB)};
    struct convergence_result c = decide(r, 2, 300, 0, 0);
    assert_int_equal(c.bandwidth, 2 * GIB);
    assert_int_equal(c.decision, CONVERGENCE_SWITCH_OVER);
}

static void test_extremes_do_not_overflow(void **state)
{
    struct convergence_round r[] = {{UINT64_MAX, 1, UINT64_MAX, 1}, {0, 0, UINT64_MAX, 0}};
    assert_int_equal(decide(r, 1, UINT64_MAX / 2000, UINT64_MAX, 0).decision, CONVERGENCE_SWITCH_OVER);
    assert_int_not_equal(decide(r, 2, 0, 0, 0).decision, CONVERGENCE_SWITCH_OVER);
    struct convergence_round none = {0, 0, 0, 0};
    assert_int_equal(decide(&none, 1, 300, 0, 0).decision, CONVERGENCE_SWITCH_OVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet_workload_switches_at_once),
        cmocka_unit_test(test_packed_memory),
        cmocka_unit_test(test_shrinking_goes_on),
        cmocka_unit_test(test_fast_writer_is_stalled_within_three_rounds),
        cmocka_unit_test(test_stall_after_progress),
        cmocka_unit_test(test_oscillation_is_caught_low),
        cmocka_unit_test(test_device_state_counts),
        cmocka_unit_test(test_cap_holds_in_the_blackout),
        cmocka_unit_test(test_small_rounds_say_nothing_of_bandwidth),
        cmocka_unit_test(test_extremes_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whatever call fails: every operation of devices and VMM controllers on both sides, one after the other.
 * Afterwards exactly one side runs, tracking is off, nothing is left borrowed, and where the destination runs
 * its memory is the source's.
 */
#include "../fake/two-sides.h"
#include <string.h>

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            fail_msg("%s, with fault %d (%s); source %s: %s; destination %s: %s", #cond, n, fault_where,     \
                     mig_state_to_string(out.state), out.error.message, mig_state_to_string(in.state),       \
                     in.error.message);                                                                      \
    } while (0)

static void judge(struct scene *s, size_t ndevices, int n)
{
    struct migration_status out, in = {.state = MIG_STATE_MAX};
    migration_get_status(s->source.migration, &out);
    if (s->destination.migration)
        migration_get_status(s->destination.migration, &in);
    CHECK(!s->late);
    bool source = side_runs(&s->source, ndevices), destination = side_runs(&s->destination, ndevices);
    CHECK(source != destination);
    CHECK(!s->source.domain->borrowed && !s->destination.domain->borrowed);
    for (size_t i = 0; i < ndevices; i++)
        CHECK(!s->source.device[i]->logging);
    if (source) {
        CHECK(out.state == MIG_STATE_FAILED);
        CHECK(mig_error_is_set(&out.error));
        CHECK(s->source.domain->state == DOMAIN_STATE_RUNNING ? side_runs_whole(&s->source, ndevices)
                                                              : s->source.domain->problem[0] != '\0');
    } else {
        CHECK(out.state == MIG_STATE_COMPLETED);
        CHECK(s->source.domain->state == DOMAIN_STATE_DEPARTED);
        CHECK(s->destination.controller->loaded);
        CHECK(memcmp(s->source.region->map, s->destination.region->map, MEMORY_BYTES) == 0);
        CHECK(s->destination.domain->state == DOMAIN_STATE_RUNNING
                  ? side_runs_whole(&s->destination, ndevices)
                  : s->destination.domain->problem[0] != '\0');
    }
}

static void sweep(size_t ndevices, enum verify_mode verify)
{
    int n = 0;
    for (bool fired = true; fired; n++) {
        struct scene s;
        struct migration_options o;
        migration_options_init(&o);
        o.verify = verify;
        o.connections = 2;
        make_scene(&s, ndevices);
        fault_where[0] = '\0';
        atomic_store(&fault_fired, 0);
        atomic_store(&fault_countdown, n); /* 0 first: the way without a fault */
        assert_int_equal(run_scene(&s, &o, NULL), 0);
        atomic_store(&fault_countdown, 0);
        fired = n == 0 || atomic_load(&fault_fired);
        judge(&s, ndevices, n);
        end_scene(&s);
        assert_in_range(n, 0, 400);
    }
    print_message("%d places to fail\n", n - 2);
    assert_true(n > 20);
}

static void test_one_device(void **state)
{
    sweep(1, VERIFY_OFF);
}

static void test_two_devices_and_proof(void **state)
{
    sweep(2, VERIFY_STRICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_device),
        cmocka_unit_test(test_two_devices_and_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

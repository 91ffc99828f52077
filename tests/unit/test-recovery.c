/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Daemons that were killed and come back: what they make of the records that they find. Never do both sides
 * run, and a side that may have run does not give the workload back.
 */
#include "../fake/two-sides.h"
#include <string.h>

/* Devices and VMM of the destination as a daemon leaves them that was killed after the decision. */
static void destination_runs_already(struct scene *s, size_t ndevices)
{
    for (size_t i = 0; i < ndevices; i++) {
        s->destination.device[i]->state = DEVICE_STATE_RUNNING;
        s->source.device[i]->state = DEVICE_STATE_STOP_COPY;
    }
    s->destination.controller->runs = true;
    s->source.controller->runs = false;
}

static void fail_first(const char *call)
{
    fault_only = call;
    atomic_store(&fault_fired, 0);
    atomic_store(&fault_countdown, call ? 1 : 0);
}

/* The VMM here answers too late when it is asked whether it lives, while it runs. */
static void test_what_was_accepted_is_never_given_back(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    destination_runs_already(&s, 1);
    fail_first("alive");
    recover_scene(&s, RECORD_COMMITTED, RECORD_ACCEPTED);
    fail_first(NULL);
    assert_false(s.late);
    assert_false(side_runs(&s.source, 1));
    assert_true(side_runs_whole(&s.destination, 1));
    assert_int_equal(migration_get_state(s.source.migration), MIG_STATE_COMPLETED);
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_DEPARTED);
    end_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_accepted_is_never_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

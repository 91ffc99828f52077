/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the blackout must find and who runs then: rogue devices at the gate, lost bits in the proof, workloads
 * that do not converge, devices without the states that several need. Each with the rule's good case beside
 * it.
 */
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/ratelimit.h"
#include <string.h>
#include <sys/eventfd.h>

static struct migration_status migrate(struct scene *s, const struct migration_options *o)
{
    struct migration_status st;
    assert_int_equal(run_scene(s, o, NULL), 0);
    assert_false(s->late);
    migration_get_status(s->source.migration, &st);
    return st;
}

static void source_runs_on(struct scene *s, size_t ndevices)
{
    assert_true(side_runs_whole(&s->source, ndevices));
    assert_false(side_runs(&s->destination, ndevices));
    assert_int_equal(s->source.domain->state, DOMAIN_STATE_RUNNING);
    assert_int_equal(s->destination.domain->state, DOMAIN_STATE_WAITING);
    for (size_t i = 0; i < ndevices; i++)
        assert_false(s->source.device[i]->logging);
}

static void destination_runs(struct scene *s, size_t ndevices)
{
    assert_true(side_runs_whole(&s->destination, ndevices));
    assert_false(side_runs(&s->source, ndevices));
}

static struct migration_options defaults(void)
{
    struct migration_options o;
    migration_options_init(&o);
    return o;
}

static void test_strict_gate_names_the_rogue(void **state)
{
    struct scene s;
    make_scene(&s, 2);
    s.source.device[1]->rogue_pages = 2;
    struct migration_options o = defaults();
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_FAILED);
    assert_int_equal(st.error.code, MIG_ERR_GATE);
    assert_non_null(strstr(st.error.message, "dev1"));
    assert_non_null(strstr(st.error.message, "IOVA 0x"));
    assert_null(strstr(st.error.message, "dev0"));
    assert_int_equal(st.counters.gate_pages, 2);
    assert_string_equal(st.gate, "dirty");
    source_runs_on(&s, 2);
    end_scene(&s);
}

static void test_resend_gate_ends_when_the_rogue_does(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->rogue_pages = 3;
    s.source.device[0]->rogue_reports = 4; /* the final read, the gate, its clearing, and the gate again */
    struct migration_options o = defaults();
    o.gate = GATE_RESEND;
    o.gate_resends = 3;
    o.verify = VERIFY_STRICT;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_int_equal(st.counters.gate_resends, 2);
    assert_string_equal(st.gate, "clean");
    assert_string_equal(st.verify, "proved");
    assert_int_equal(st.counters.verify_pages, MEMORY_BYTES / REGION_PAGE_SIZE);
    destination_runs(&s, 1);
    end_scene(&s);
}

static void test_resend_gate_gives_up(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->rogue_pages = 1;
    struct migration_options o = defaults();
    o.gate = GATE_RESEND;
    o.gate_resends = 2;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.error.code, MIG_ERR_GATE);
    assert_int_equal(st.counters.gate_resends, 2);
    source_runs_on(&s, 1);
    end_scene(&s);
}

/* What all migrations together may take: pages wait for it, device state does not but is counted. */
static void test_total_cap_counts_pages_and_state(void **state)
{
    const uint64_t rate = 4000000;
    struct scene s;
    struct ratelimit *total = NULL;
    assert_int_equal(ratelimit_new(&total, rate), 0);
    make_scene(&s, 2);
    s.total = total;
    struct migration_options o = defaults();
    o.max_downtime_usec = 5 * USEC_PER_SEC;
    uint64_t begun = now_usec();
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_int_equal(st.counters.device_bytes, 2 * STATE_BYTES);
    assert_int_equal(ratelimit_take(total, 0), 0); /* what is owed at the end */
    uint64_t bytes = st.counters.wire_bytes + st.counters.device_bytes;
    uint64_t usec = now_usec() - begun;
    print_message("# %llu bytes in %llu us\n", (unsigned long long)bytes, (unsigned long long)usec);
    assert_true(usec + 50000 >= bytes * USEC_PER_SEC / rate);
    assert_true(st.counters.bandwidth <= rate); /* the cap holds in the blackout too */
    destination_runs(&s, 2);
    end_scene(&s);
    ratelimit_free(total);
}

/* R11: what a device has to say first goes out before the switch-over, however slowly it says it. */
static void test_initial_data_before_the_switch_over(void **state)
{
    for (unsigned renewals = 0; renewals < 3; renewals += 2) {
        struct scene s;
        make_scene(&s, 1);
        struct fake_device *d = s.source.device[0];
        d->info.has_precopy_info = true;
        d->precopy_pace = STATE_BYTES / 8 + 1;
        d->renewals = renewals; /* and again, when the device says that there is more of that kind */
        struct migration_options o = defaults();
        struct migration_status st = migrate(&s, &o);
        assert_int_equal(st.state, MIG_STATE_COMPLETED);
        assert_false(d->left_precopy_early);
        assert_int_equal(d->renewals, 0);
        assert_true(st.round >= 4 + renewals);
        destination_runs(&s, 1);
        end_scene(&s);
    }
}

/* A device that never gets there holds nobody up; nor does a driver that cannot be asked. */
static void test_initial_data_without_end(void **state)
{
    for (int asked = 0; asked < 2; asked++) {
        struct scene s;
        make_scene(&s, 1);
        s.source.device[0]->info.has_precopy_info = asked;
        s.source.device[0]->never_done = true;
        struct migration_options o = defaults();
        struct migration_status st = migrate(&s, &o);
        assert_int_equal(st.state, MIG_STATE_COMPLETED);
        assert_true(asked ? st.round > 2 && st.round < 30 : st.round <= 2);
        destination_runs(&s, 1);
        end_scene(&s);
    }
}

/* The operator's limits hold while a device is waited for. */
static void test_initial_data_and_limits(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    struct fake_device *d = s.source.device[0];
    d->info.has_precopy_info = true;
    d->precopy_pace = 1000;
    struct migration_options o = defaults();
    o.max_rounds = 3;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_true(d->left_precopy_early);
    assert_true(st.round <= 4);
    destination_runs(&s, 1);
    end_scene(&s);
}

/* Off means off: the operator's risk, and the status says so. */
static void test_gate_off_does_not_look(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->rogue_pages = 1;
    struct migration_options o = defaults();
    o.gate = GATE_OFF;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_string_equal(st.gate, "off");
    destination_runs(&s, 1);
    end_scene(&s);
}

/* Quiet at the final read and at the gate, and writing after the decision: too late to mend, not to tell. */
static void test_late_writes_are_told(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->rogue_pages = 5;
    s.source.device[0]->rogue_after = 2;
    struct migration_options o = defaults();
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_string_equal(st.gate, "late");
    assert_int_equal(st.counters.gate_pages, 5);
    assert_non_null(strstr(st.verdict, "dev0"));
    destination_runs(&s, 1);
    end_scene(&s);
}

static void test_strict_verify_stops_a_lost_bit(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->loses_bits = true;
    struct migration_options o = defaults();
    o.verify = VERIFY_STRICT;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_FAILED);
    assert_int_equal(st.error.code, MIG_ERR_VERIFY);
    assert_non_null(strstr(st.error.message, "dev0"));
    assert_non_null(strstr(st.error.message, "ram+0x"));
    assert_in_range(st.counters.verify_bad_pages, 1, 8);
    assert_string_equal(st.verify, "failed");
    source_runs_on(&s, 1);
    end_scene(&s);
}

/* A VMM that writes memory while it loads has lost nothing; one bit that was lost is found all the same. */
static void test_strict_verify_is_about_what_arrived(void **state)
{
    for (unsigned loses = 0; loses < 2; loses++) {
        struct scene s;
        make_scene(&s, 1);
        s.destination.controller->load_writes = s.destination.region;
        s.source.device[0]->loses_bits = loses;
        struct migration_options o = defaults();
        o.verify = VERIFY_STRICT;
        struct migration_status st = migrate(&s, &o);
        assert_string_equal(st.verify, loses ? "failed" : "proved");
        assert_int_equal(st.counters.verify_pages, MEMORY_BYTES / REGION_PAGE_SIZE);
        if (loses)
            source_runs_on(&s, 1);
        else
            destination_runs(&s, 1);
        end_scene(&s);
    }
}

/* What the device writes and does not report is found by who compares memory with what was sent. */
static void test_digests_find_what_nobody_reports(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    struct tracker *digests;
    assert_int_equal(tracker_new_digests(&digests, "memory", s.source.region, NULL), 0);
    assert_int_equal(domain_add_tracker(s.source.domain, digests, NULL, NULL), 0);
    s.source.device[0]->loses_bits = true;
    struct migration_options o = defaults();
    o.verify = VERIFY_STRICT;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_string_equal(st.verify, "proved");
    assert_string_equal(st.gate, "clean");
    assert_true(digests->counters.pages_first > 0);
    assert_null(s.source.region->sent_digests);
    destination_runs(&s, 1);
    end_scene(&s);
}

static void test_post_verify_tells_of_a_lost_bit(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->loses_bits = true;
    struct migration_options o = defaults();
    o.verify = VERIFY_POST;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.error.code, MIG_ERR_VERIFY);
    assert_string_equal(st.verify, "failed");
    assert_true(st.counters.verify_bad_pages >= 1);
    destination_runs(&s, 1); /* it tells, it does not decide */
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_DEPARTED);
    end_scene(&s);
}

static void test_post_verify_proves(void **state)
{
    struct scene s;
    make_scene(&s, 2);
    struct migration_options o = defaults();
    o.verify = VERIFY_POST;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_string_equal(st.verify, "proved");
    destination_runs(&s, 2);
    end_scene(&s);
}

static struct migration_status stall(struct scene *s, enum stall_policy policy)
{
    make_scene(s, 1);
    s->source.device[0]->dirties_all = true;
    struct migration_options o = defaults();
    o.on_stall = policy;
    o.max_downtime_usec = 1;
    return migrate(s, &o);
}

static void test_stall_aborts_within_three_rounds(void **state)
{
    struct scene s;
    struct migration_status st = stall(&s, STALL_ABORT);
    assert_int_equal(st.error.code, MIG_ERR_STALLED);
    assert_true(st.counters.iterations <= 3);
    source_runs_on(&s, 1);
    end_scene(&s);
}

static void test_stall_can_be_forced(void **state)
{
    struct scene s;
    struct migration_status st = stall(&s, STALL_FORCE);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_true(st.counters.final_bytes > 0);
    destination_runs(&s, 1);
    assert_memory_equal(s.source.region->map, s.destination.region->map, MEMORY_BYTES);
    end_scene(&s);
}

/* Blind trackers make the gate compare digests, and a rogue is found all the same. */
static void test_untracked_devices_and_digests(void **state)
{
    for (unsigned rogue = 0; rogue < 2; rogue++) {
        struct scene s;
        make_scene(&s, 1);
        struct tracker *all;
        assert_int_equal(tracker_new_all(&all, "gpu0", "gpu0", &s.source.region, 1, NULL), 0);
        assert_int_equal(domain_add_tracker(s.source.domain, all, NULL, NULL), 0);
        s.source.device[0]->rogue_pages = rogue;
        struct migration_options o = defaults();
        o.on_stall = STALL_FORCE;
        struct migration_status st = migrate(&s, &o);
        if (rogue) {
            assert_int_equal(st.error.code, MIG_ERR_GATE);
            source_runs_on(&s, 1);
        } else {
            assert_int_equal(st.state, MIG_STATE_COMPLETED);
            assert_string_equal(st.gate, "clean-by-digests");
            destination_runs(&s, 1);
        }
        end_scene(&s);
    }
}

static void device_dies(void *userdata)
{
    struct scene *s = userdata;
    uint64_t one = 1;
    assert_int_equal(write(s->source.device[0]->gone_fd, &one, sizeof one), sizeof one);
}

/* Its log would go on answering: the kernel's does when the holder is dead. */
static void test_a_device_dies_while_rounds_run(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->dirties_all = true;
    s.source.device[0]->gone_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct migration_options o = defaults();
    o.on_stall = STALL_WAIT;
    o.max_downtime_usec = 1;
    struct loop_timer *timer;
    assert_int_equal(loop_timer_new(&timer, s.loop, device_dies, &s), 0);
    loop_timer_arm(timer, 100000);
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_FAILED);
    assert_int_equal(st.error.code, MIG_ERR_DEVICE_GONE);
    assert_non_null(strstr(st.error.message, "dev0"));
    assert_int_equal(s.destination.domain->state, DOMAIN_STATE_WAITING);
    loop_timer_free(timer);
    close_fd(&s.source.device[0]->gone_fd);
    end_scene(&s);
}

static void cancel_it(void *userdata)
{
    struct scene *s = userdata;
    migration_cancel(s->source.migration, NULL);
}

static void test_stall_can_wait_until_cancelled(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->dirties_all = true;
    struct migration_options o = defaults();
    o.on_stall = STALL_WAIT;
    o.max_downtime_usec = 1;
    struct loop_timer *timer;
    assert_int_equal(loop_timer_new(&timer, s.loop, cancel_it, &s), 0);
    loop_timer_arm(timer, 400000);
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_CANCELLED);
    assert_true(st.counters.iterations > 3);
    source_runs_on(&s, 1);
    loop_timer_free(timer);
    end_scene(&s);
}

/* Also in the middle of a round, which a slow link can make as long as it likes. */
static void test_the_time_is_over_in_the_full_send(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    for (size_t i = 0; i < MEMORY_BYTES; i += REGION_PAGE_SIZE)
        s.source.region->map[i] = 1;
    struct migration_options o = defaults();
    o.bandwidth_bytes_per_sec = 20000; /* 200 s for all of it */
    o.timeout_usec = 1000000;
    uint64_t began = now_usec();
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.error.code, MIG_ERR_TIMED_OUT);
    assert_non_null(strstr(st.error.hint, "--timeout"));
    assert_int_equal(st.state, MIG_STATE_FAILED);
    assert_in_range(now_usec() - began, 1000000, 60000000);
    source_runs_on(&s, 1);
    end_scene(&s);
}

static void test_several_devices_want_p2p(void **state)
{
    struct scene s;
    struct mig_error err = MIG_ERROR_INIT;
    make_scene(&s, 2);
    s.source.device[1]->info.migration_flags = DEVICE_MIGRATION_STOP_COPY;
    struct migration_options o = defaults();
    assert_true(run_scene(&s, &o, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_NOT_SUPPORTED);
    assert_non_null(strstr(err.message, "dev1"));
    assert_non_null(strstr(err.hint, "--allow device-no-p2p"));
    end_scene(&s);
    make_scene(&s, 2);
    s.source.device[1]->info.migration_flags = DEVICE_MIGRATION_STOP_COPY;
    o.allow[FINDING_DEVICE_NO_P2P] = true;
    assert_int_equal(migrate(&s, &o).state, MIG_STATE_COMPLETED);
    destination_runs(&s, 2);
    end_scene(&s);
}

static void test_a_domain_that_does_not_fit_is_refused(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.destination.device[0]->info.pci_device = 0x1234;
    struct migration_options o = defaults();
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.error.code, MIG_ERR_INCOMPATIBLE);
    assert_non_null(strstr(st.error.message, "dev0"));
    source_runs_on(&s, 1);
    assert_int_equal(s.destination.device[0]->state, DEVICE_STATE_STOP); /* not even touched */
    end_scene(&s);
}

static void test_no_device_and_no_vmm_state(void **state)
{
    struct scene s;
    make_scene(&s, 0);
    struct migration_options o = defaults();
    o.verify = VERIFY_STRICT;
    o.checksum = true;
    struct migration_status st = migrate(&s, &o);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_string_equal(st.verify, "proved");
    destination_runs(&s, 0);
    end_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strict_gate_names_the_rogue),
        cmocka_unit_test(test_resend_gate_ends_when_the_rogue_does),
        cmocka_unit_test(test_resend_gate_gives_up),
        cmocka_unit_test(test_total_cap_counts_pages_and_state),
        cmocka_unit_test(test_initial_data_before_the_switch_over),
        cmocka_unit_test(test_initial_data_without_end),
        cmocka_unit_test(test_initial_data_and_limits),
        cmocka_unit_test(test_gate_off_does_not_look),
        cmocka_unit_test(test_late_writes_are_told),
        cmocka_unit_test(test_strict_verify_stops_a_lost_bit),
        cmocka_unit_test(test_strict_verify_is_about_what_arrived),
        cmocka_unit_test(test_digests_find_what_nobody_reports),
        cmocka_unit_test(test_post_verify_tells_of_a_lost_bit),
        cmocka_unit_test(test_post_verify_proves),
        cmocka_unit_test(test_stall_aborts_within_three_rounds),
        cmocka_unit_test(test_stall_can_be_forced),
        cmocka_unit_test(test_stall_can_wait_until_cancelled),
        cmocka_unit_test(test_untracked_devices_and_digests),
        cmocka_unit_test(test_a_device_dies_while_rounds_run),
        cmocka_unit_test(test_the_time_is_over_in_the_full_send),
        cmocka_unit_test(test_several_devices_want_p2p),
        cmocka_unit_test(test_a_domain_that_does_not_fit_is_refused),
        cmocka_unit_test(test_no_device_and_no_vmm_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

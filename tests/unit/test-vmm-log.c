/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM's log of its CPUs' writes is asked for before anything is tracked or read, and given back after
 * every ending: the good one, every kind of failure, and one that a daemon before this one left.
 */
#include "../fake/two-sides.h"
#include "base/fds.h"
#include "dirty/tracker.h"
#include <string.h>
#include <sys/mman.h>

static struct {
    struct scene *scene;
    struct controller_ops ops;
    int log_fd;
    unsigned starts, stops;
    bool on, refuses, tracked_too_early, vanished;
} vmm;

static bool something_tracks(void)
{
    const struct domain *d = vmm.scene->source.domain;
    for (size_t i = 0; i < d->ntrackers; i++)
        if (d->trackers[i]->started)
            return true;
    return false;
}

static int start_log(struct controller *c, uint64_t deadline, struct mig_error *err)
{
    vmm.starts++;
    vmm.tracked_too_early |= something_tracks();
    if (vmm.refuses)
        return mig_error_set(err, MIG_ERR_CONTROLLER, 0, "no memory for a log");
    vmm.on = true;
    return 0;
}

static int stop_log(struct controller *c, uint64_t deadline, struct mig_error *err)
{
    vmm.stops++;
    if (vmm.vanished)
        return mig_error_set(err, MIG_ERR_CONTROLLER, 0, "the VMM left the bus");
    vmm.on = false;
    return 0;
}

/* A scene whose source has a VMM with these methods, and a cpu-log if wanted. */
static void make(struct scene *s, bool cpu_log)
{
    make_scene(s, 1);
    memset(&vmm, 0, sizeof vmm);
    vmm.scene = s;
    vmm.ops = *s->source.controller->base.ops;
    vmm.ops.start_log = start_log;
    vmm.ops.stop_log = stop_log;
    s->source.controller->base.ops = &vmm.ops;
    vmm.log_fd = -1;
    if (!cpu_log)
        return;
    struct tracker *t;
    vmm.log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(ftruncate(vmm.log_fd, 4096), 0);
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", s->source.region, vmm.log_fd, 0, REGION_PAGE_SIZE, NULL),
                     0);
    assert_int_equal(domain_add_tracker(s->source.domain, t, NULL, NULL), 0);
}

static struct migration_status migrate(struct scene *s)
{
    struct migration_options o;
    struct migration_status st;
    migration_options_init(&o);
    assert_int_equal(run_scene(s, &o, NULL), 0);
    assert_false(s->late);
    migration_get_status(s->source.migration, &st);
    return st;
}

static void end(struct scene *s)
{
    end_scene(s);
    close_fd(&vmm.log_fd);
}

static void test_on_before_and_off_after(void **state)
{
    struct scene s;
    make(&s, true);
    assert_int_equal(migrate(&s).state, MIG_STATE_COMPLETED);
    assert_int_equal(vmm.starts, 1);
    assert_false(vmm.tracked_too_early);
    assert_true(vmm.stops >= 1);
    assert_false(vmm.on);
    end(&s);
}

static void test_off_after_a_failure(void **state)
{
    struct scene s;
    make(&s, true);
    s.source.device[0]->rogue_pages = 1;
    struct migration_status st = migrate(&s);
    assert_int_equal(st.error.code, MIG_ERR_GATE);
    assert_int_equal(vmm.starts, 1);
    assert_false(vmm.on);
    assert_true(side_runs_whole(&s.source, 1));
    end(&s);
}

static void test_a_vmm_that_cannot_log_is_not_migrated(void **state)
{
    struct scene s;
    make(&s, true);
    vmm.refuses = true;
    struct migration_status st = migrate(&s);
    assert_int_equal(st.state, MIG_STATE_FAILED);
    assert_int_equal(st.error.code, MIG_ERR_CONTROLLER);
    assert_non_null(strstr(st.error.message, "no memory for a log"));
    assert_false(something_tracks());
    assert_true(side_runs_whole(&s.source, 1));
    assert_null(s.destination.migration);
    end(&s);
}

/* A source VMM may end as soon as it is not needed any more. */
static void test_a_vmm_that_is_gone_afterwards_spoils_nothing(void **state)
{
    struct scene s;
    make(&s, true);
    vmm.vanished = true;
    assert_int_equal(migrate(&s).state, MIG_STATE_COMPLETED);
    assert_true(side_runs_whole(&s.destination, 1));
    end(&s);
}

static void test_off_after_a_restart(void **state)
{
    static const enum record_state left[] = {RECORD_STARTED, RECORD_INTENT};
    for (size_t i = 0; i < ELEMENTS(left); i++) {
        struct scene s;
        make(&s, true);
        vmm.on = true; /* the daemon before this one asked for it */
        recover_scene(&s, left[i], RECORD_STATE_MAX);
        assert_int_equal(vmm.starts, 0);
        assert_false(vmm.on);
        end(&s);
    }
}

static void test_without_a_log_nobody_is_asked(void **state)
{
    struct scene s;
    make(&s, false);
    assert_int_equal(migrate(&s).state, MIG_STATE_COMPLETED);
    assert_int_equal(vmm.starts + vmm.stops, 0);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_before_and_off_after),
        cmocka_unit_test(test_off_after_a_failure),
        cmocka_unit_test(test_a_vmm_that_cannot_log_is_not_migrated),
        cmocka_unit_test(test_a_vmm_that_is_gone_afterwards_spoils_nothing),
        cmocka_unit_test(test_off_after_a_restart),
        cmocka_unit_test(test_without_a_log_nobody_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Daemons that were killed and come back: what they make of the records that they find. Never do both sides
 * run, and a side that may have run does not give the workload back.
 */
#include "../fake/two-sides.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

/* While the destination may still give it back, the source must not be told that it runs there. */
static void test_the_outcome_is_told_when_it_is_certain(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->state = DEVICE_STATE_STOP_COPY;
    s.source.controller->runs = false;
    atomic_store(&fault_delay_msec, 1200);
    fail_first("alive");
    recover_scene(&s, RECORD_COMMITTED, RECORD_PREPARED);
    fail_first(NULL);
    atomic_store(&fault_delay_msec, 0);
    assert_false(s.late);
    assert_true(side_runs_whole(&s.source, 1));
    assert_false(side_runs(&s.destination, 1));
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_RUNNING);
    assert_int_equal(s.destination.domain->state, DOMAIN_STATE_WAITING);
    end_scene(&s);
}

static void expect_record(struct domain *d, void *userdata)
{
    struct side *side = userdata;
    bool in = side == &side->scene->destination;
    if (d->state != (in ? DOMAIN_STATE_RUNNING : DOMAIN_STATE_DEPARTED) || side->seen)
        return;
    struct record *list;
    size_t n;
    assert_int_equal(record_list(in ? side->scene->destination_dir : side->scene->source_dir, &list, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].state, RECORD_ACTIVE);
    assert_int_equal(list[0].incoming, in);
    free(list);
    side->seen = true;
}

static size_t count_records(const char *dir)
{
    struct record *list;
    size_t n;
    assert_int_equal(record_list(dir, &list, &n), 0);
    free(list);
    return n;
}

/* A kill between the two would leave a domain that says "running" where nothing runs, or "waiting" where it
 * does. */
static void test_records_go_after_the_domain_was_saved(void **state)
{
    struct scene s;
    struct migration_options o;
    migration_options_init(&o);
    make_scene(&s, 1);
    for (int i = 0; i < 2; i++) {
        struct side *side = i ? &s.destination : &s.source;
        side->domain->changed = expect_record;
        side->domain->changed_userdata = side;
    }
    assert_int_equal(run_scene(&s, &o, NULL), 0);
    assert_true(s.source.seen && s.destination.seen);
    assert_int_equal(count_records(s.source_dir), 0);
    assert_int_equal(count_records(s.destination_dir), 0);
    end_scene(&s);
}

static void test_an_active_record_says_who_runs(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    destination_runs_already(&s, 1);
    recover_scene(&s, RECORD_ACTIVE, RECORD_ACTIVE);
    assert_false(s.late);
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_DEPARTED);
    assert_int_equal(s.destination.domain->state, DOMAIN_STATE_RUNNING);
    assert_false(side_runs(&s.source, 1));
    assert_true(side_runs_whole(&s.destination, 1));
    assert_int_equal(scene_record(&s, false), -ENOENT);
    end_scene(&s);
}

static void expect_asked_address(struct domain *d, void *userdata)
{
    struct side *side = userdata;
    struct record *list;
    size_t n;
    if (d->state != DOMAIN_STATE_RUNNING || side->seen)
        return;
    assert_int_equal(record_list(side->scene->destination_dir, &list, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(strncmp(list[0].peer, "127.0.0.1:", 10), 0);
    assert_string_equal(strchr(list[0].peer, ':'), strchr(side->scene->source_address, ':'));
    free(list);
    side->seen = true;
}

/* Its own "every address" would lead a destination in doubt to itself. */
static void test_a_source_on_every_address_can_be_asked(void **state)
{
    struct scene s;
    struct migration_options o;
    migration_options_init(&o);
    make_scene(&s, 1);
    s.tcp = true;
    s.destination.domain->changed = expect_asked_address;
    s.destination.domain->changed_userdata = &s.destination;
    assert_int_equal(run_scene(&s, &o, NULL), 0);
    assert_true(s.destination.seen);
    end_scene(&s);
}

static void note_incoming(struct domain *d, void *userdata)
{
    if (d->state == DOMAIN_STATE_RECEIVING)
        ((struct side *)userdata)->seen = d->incoming;
}

/* What a daemon that is killed now leaves must not be taken for a domain that runs. */
static void test_a_departed_domain_that_receives_is_incoming(void **state)
{
    struct scene s;
    struct migration_options o;
    migration_options_init(&o);
    make_scene(&s, 1);
    s.destination.domain->incoming = false;
    s.destination.domain->state = DOMAIN_STATE_DEPARTED;
    s.destination.domain->changed = note_incoming;
    s.destination.domain->changed_userdata = &s.destination;
    assert_int_equal(run_scene(&s, &o, NULL), 0);
    assert_true(s.destination.seen);
    assert_false(s.destination.domain->incoming);
    assert_true(side_runs_whole(&s.destination, 1));
    end_scene(&s);
}

struct canceller {
    struct scene *scene;
    struct loop_timer *timer;
    int result;
};

static void cancel_while_it_loads(void *userdata)
{
    struct canceller *c = userdata;
    struct migration_status st = {.phase = MIG_PHASE_SETUP};
    if (c->scene->destination.migration)
        migration_get_status(c->scene->destination.migration, &st);
    if (st.phase == MIG_PHASE_LOAD)
        c->result = migration_cancel(c->scene->destination.migration, NULL);
    else
        loop_timer_arm(c->timer, 2000);
}

/* The cancel was accepted, so it must come true: what is prepared afterwards would wait for ever for somebody
 * who asks. */
static void test_cancel_while_the_destination_loads(void **state)
{
    struct scene s;
    struct migration_options o;
    migration_options_init(&o);
    make_scene(&s, 1);
    s.destination.controller->load_msec = 300;
    struct canceller c = {.scene = &s, .result = 1};
    assert_int_equal(loop_timer_new(&c.timer, s.loop, cancel_while_it_loads, &c), 0);
    loop_timer_arm(c.timer, 2000);
    assert_int_equal(run_scene(&s, &o, NULL), 0);
    assert_false(s.late);
    assert_int_equal(c.result, 0);
    assert_true(side_runs_whole(&s.source, 1));
    assert_false(side_runs(&s.destination, 1));
    assert_int_equal(migration_get_state(s.source.migration), MIG_STATE_CANCELLED);
    assert_int_equal(migration_get_state(s.destination.migration), MIG_STATE_CANCELLED);
    assert_int_equal(s.destination.domain->state, DOMAIN_STATE_WAITING);
    loop_timer_free(c.timer);
    end_scene(&s);
}

static size_t count_threads(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void end_the_daemon(void *userdata)
{
    struct scene *s = userdata;
    loop_exit(s->loop, 0);
}

static void stay_in_doubt(enum record_state out, enum record_state in)
{
    struct scene s;
    struct loop_timer *timer;
    size_t threads = count_threads(); /* sanitizers have their own */
    make_scene(&s, 1);
    s.source.device[0]->state = DEVICE_STATE_STOP_COPY;
    s.source.controller->runs = false;
    assert_int_equal(loop_timer_new(&timer, s.loop, end_the_daemon, &s), 0);
    loop_timer_arm(timer, 700000);
    recover_scene(&s, out, in);
    struct migration *m = in == RECORD_STATE_MAX ? s.source.migration : s.destination.migration;
    assert_int_equal(migration_get_state(m), MIG_STATE_IN_DOUBT);
    loop_timer_free(timer);
    alarm(15);
    end_scene(&s); /* ends who asks, although nobody answers */
    alarm(0);
    assert_int_equal(count_threads(), threads);
}

static void test_a_daemon_can_end_in_doubt(void **state)
{
    stay_in_doubt(RECORD_STATE_MAX, RECORD_PREPARED);
    stay_in_doubt(RECORD_COMMITTED, RECORD_STATE_MAX);
}

/* The next write of the source's record fails. */
static void block_record(struct scene *s)
{
    char path[200];
    snprintf(path, sizeof path, "%s/s/migrations/%s.out.tmp", s->dir, SCENE_ID);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void block_it(void *userdata)
{
    block_record(userdata);
}

struct resolution {
    struct scene *scene;
    struct loop_timer *timer;
    bool run;
};

static void resolve_it(void *userdata)
{
    struct resolution *r = userdata;
    if (r->scene->source.migration && migration_get_state(r->scene->source.migration) == MIG_STATE_IN_DOUBT)
        assert_int_equal(migration_resolve(r->scene->source.migration, r->run, NULL), 0);
    else
        loop_timer_arm(r->timer, 5000);
}

static void stopped_source(struct scene *s)
{
    make_scene(s, 1);
    s->source.device[0]->state = DEVICE_STATE_STOP_COPY;
    s->source.device[0]->logging = true;
    s->source.controller->runs = false;
}

/* The destination is gone, and so is what it knew. */
static void resolve(struct scene *s, bool run, bool block)
{
    struct resolution r = {.scene = s, .run = run};
    struct loop_timer *blocker;
    stopped_source(s);
    assert_int_equal(loop_timer_new(&r.timer, s->loop, resolve_it, &r), 0);
    assert_int_equal(loop_timer_new(&blocker, s->loop, block_it, s), 0);
    loop_timer_arm(r.timer, 5000);
    if (block)
        loop_timer_arm(blocker, 0);
    recover_scene(s, RECORD_COMMITTED, RECORD_STATE_MAX);
    assert_false(s->late);
    loop_timer_free(r.timer);
    loop_timer_free(blocker);
}

static void test_the_operator_resolves(void **state)
{
    struct scene s;
    resolve(&s, true, false);
    assert_true(side_runs_whole(&s.source, 1));
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_RUNNING);
    assert_int_equal(scene_record(&s, false), RECORD_ABORTED);
    assert_false(s.source.device[0]->logging);
    end_scene(&s);

    resolve(&s, false, false);
    assert_false(side_runs(&s.source, 1));
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_DEPARTED);
    assert_int_equal(scene_record(&s, false), -ENOENT);
    assert_false(s.source.device[0]->logging);
    end_scene(&s);

    resolve(&s, true,
            true); /* what cannot be recorded is not done: the destination might come back and ask */
    assert_false(side_runs(&s.source, 1));
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_BROKEN);
    assert_non_null(strstr(s.source.domain->problem, "Make room"));
    assert_int_equal(scene_record(&s, false), RECORD_COMMITTED);
    end_scene(&s);
}

static void test_given_back_without_room_for_a_record(void **state)
{
    struct scene s;
    struct loop_timer *blocker;
    stopped_source(&s);
    assert_int_equal(loop_timer_new(&blocker, s.loop, block_it, &s), 0);
    loop_timer_arm(blocker, 0);
    recover_scene(&s, RECORD_COMMITTED, RECORD_RETURNED);
    loop_timer_free(blocker);
    assert_false(s.late);
    assert_true(side_runs_whole(&s.source, 1));
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_RUNNING);
    end_scene(&s);
}

/* Both were killed: whatever the source had not decided, it takes back, and the destination hears of it. */
static void test_undecided_goes_back(void **state)
{
    static const enum record_state outs[] = {RECORD_INTENT, RECORD_ABORTED};
    for (size_t i = 0; i < ELEMENTS(outs); i++) {
        struct scene s;
        bool aborted = outs[i] == RECORD_ABORTED; /* it has resumed already */
        make_scene(&s, 2);
        for (int k = 0; k < 2; k++) {
            s.source.device[k]->state = aborted ? DEVICE_STATE_RUNNING : DEVICE_STATE_STOP_COPY;
            s.source.device[k]->logging = !aborted;
            s.destination.device[k]->state = DEVICE_STATE_STOP;
        }
        s.source.controller->runs = aborted;
        recover_scene(&s, outs[i], RECORD_PREPARED);
        assert_false(s.late);
        assert_true(side_runs_whole(&s.source, 2));
        assert_false(side_runs(&s.destination, 2));
        assert_false(s.source.device[0]->logging || s.source.device[1]->logging);
        assert_int_equal(s.source.domain->state, DOMAIN_STATE_RUNNING);
        assert_int_equal(s.destination.domain->state, DOMAIN_STATE_WAITING);
        assert_int_equal(scene_record(&s, false), RECORD_ABORTED);
        assert_int_equal(scene_record(&s, true), -ENOENT);
        end_scene(&s);
    }
}

static void test_what_started_goes_on_without_a_record(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    s.source.device[0]->state = DEVICE_STATE_PRE_COPY;
    s.source.device[0]->logging = true;
    recover_scene(&s, RECORD_STARTED, RECORD_STATE_MAX);
    assert_true(side_runs_whole(&s.source, 1));
    assert_false(s.source.device[0]->logging);
    assert_int_equal(scene_record(&s, false), -ENOENT);
    end_scene(&s);
}

static void test_committed_runs_there(void **state)
{
    struct scene s;
    make_scene(&s, 2);
    for (int k = 0; k < 2; k++) {
        s.source.device[k]->state = DEVICE_STATE_STOP_COPY;
        s.source.device[k]->logging = true;
        s.destination.device[k]->state = DEVICE_STATE_STOP;
    }
    s.source.controller->runs = false;
    recover_scene(&s, RECORD_COMMITTED, RECORD_PREPARED);
    assert_false(s.late);
    assert_false(side_runs(&s.source, 2));
    assert_true(side_runs_whole(&s.destination, 2));
    assert_false(s.source.device[0]->logging || s.source.device[1]->logging);
    assert_int_equal(s.source.domain->state, DOMAIN_STATE_DEPARTED);
    assert_int_equal(s.destination.domain->state, DOMAIN_STATE_RUNNING);
    assert_int_equal(scene_record(&s, false), -ENOENT);
    assert_int_equal(scene_record(&s, true), RECORD_ACTIVE);
    end_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_accepted_is_never_given_back),
        cmocka_unit_test(test_the_outcome_is_told_when_it_is_certain),
        cmocka_unit_test(test_records_go_after_the_domain_was_saved),
        cmocka_unit_test(test_an_active_record_says_who_runs),
        cmocka_unit_test(test_a_source_on_every_address_can_be_asked),
        cmocka_unit_test(test_a_departed_domain_that_receives_is_incoming),
        cmocka_unit_test(test_cancel_while_the_destination_loads),
        cmocka_unit_test(test_a_daemon_can_end_in_doubt),
        cmocka_unit_test(test_undecided_goes_back),
        cmocka_unit_test(test_what_started_goes_on_without_a_record),
        cmocka_unit_test(test_committed_runs_there),
        cmocka_unit_test(test_the_operator_resolves),
        cmocka_unit_test(test_given_back_without_room_for_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

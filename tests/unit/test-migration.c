/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The migration object (phases, cancel, news on the main thread), the records that a successor reads, and
 * the ends that it shows. */
#include "migration/ended.h"
#include "migration/migration.h"
#include "migration/record.h"
#include "base/fds.h"
#include "loop/loop.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct seen {
    struct loop *loop;
    int changed, rounds, ended, cancelled, doubtful;
};

static void on_changed(struct migration *m, void *userdata)
{
    ((struct seen *)userdata)->changed++;
}

static void on_round(struct migration *m, const struct migration_round *r, void *userdata)
{
    assert_int_equal(r->round, 7);
    ((struct seen *)userdata)->rounds++;
}

static void on_ended(struct migration *m, void *userdata)
{
    struct seen *s = userdata;
    s->ended++;
    if (migration_get_state(m) != MIG_STATE_IN_DOUBT)
        loop_exit(s->loop, 0);
}

static void op_cancel(struct migration *m, void *engine)
{
    ((struct seen *)engine)->cancelled++;
}

static void op_doubtful(struct migration *m, void *engine)
{
    ((struct seen *)engine)->doubtful++;
}

static const struct migration_ops ops = {.cancel = op_cancel, .doubtful = op_doubtful};

static struct migration *make(struct seen *s, enum migration_direction direction)
{
    struct migration_options o;
    migration_options_init(&o);
    struct migration *m;
    assert_int_equal(loop_new(&s->loop), 0);
    assert_int_equal(migration_new(&m, s->loop, NULL, direction, "dom", "peer", &o), 0);
    migration_set_engine(m, &ops, s);
    migration_set_observer(m, &(struct migration_observer){on_changed, on_round, on_ended, s});
    return m;
}

static void leave(void *userdata)
{
    loop_exit(userdata, 0);
}

/* News hold references until they have been told: let them be told. */
static void finish(struct seen *s, struct migration *m)
{
    assert_int_equal(loop_post(s->loop, leave, s->loop), 0);
    loop_run(s->loop);
    migration_unref(m);
    loop_free(s->loop);
}

static enum mig_phase phase_of(struct migration *m)
{
    struct migration_status st;
    migration_get_status(m, &st);
    return st.phase;
}

static void test_phases_follow_the_table(void **state)
{
    struct seen s = {0};
    struct migration *m = make(&s, MIGRATION_OUTGOING);
    migration_set_phase(m, MIG_PHASE_COMMITTED); /* recovery begins there */
    assert_int_equal(phase_of(m), MIG_PHASE_COMMITTED);
    migration_set_phase(m, MIG_PHASE_FULL_SEND); /* refused, and said */
    assert_int_equal(phase_of(m), MIG_PHASE_COMMITTED);
    finish(&s, m);
    m = make(&s, MIGRATION_INCOMING);
    migration_set_phase(m, MIG_PHASE_FULL_SEND); /* not a phase of this direction */
    assert_int_equal(phase_of(m), MIG_PHASE_SETUP);
    migration_set_phase(m, MIG_PHASE_RECEIVE);
    assert_int_equal(phase_of(m), MIG_PHASE_RECEIVE);
    finish(&s, m);
}

static void test_cancel_and_commit_exclude_each_other(void **state)
{
    struct seen s = {0};
    struct mig_error err;
    struct migration *m = make(&s, MIGRATION_OUTGOING);
    assert_int_equal(migration_cancel(m, &err), 0);
    assert_int_equal(s.cancelled, 1);
    assert_int_equal(migration_begin_commit(m), -ECANCELED);
    finish(&s, m);

    m = make(&s, MIGRATION_OUTGOING);
    static const enum mig_phase way[] = {MIG_PHASE_FULL_SEND,  MIG_PHASE_PAUSE,       MIG_PHASE_QUIESCE,
                                         MIG_PHASE_FINAL_READ, MIG_PHASE_FINAL_PAGES, MIG_PHASE_DEVICE_STATE,
                                         MIG_PHASE_PREPARE,    MIG_PHASE_GATE};
    for (size_t i = 0; i < ELEMENTS(way); i++)
        migration_set_phase(m, way[i]);
    assert_int_equal(migration_begin_commit(m), 0);
    assert_int_equal(phase_of(m), MIG_PHASE_COMMIT);
    assert_true(migration_cancel(m, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_WRONG_STATE);
    assert_int_equal(s.cancelled, 1);
    finish(&s, m);
}

static void test_who_ends_it_says_why(void **state)
{
    struct mig_error why, late, said;
    struct migration_status st;
    mig_error_set(&why, MIG_ERR_FAILED, 0, "the house burns");
    mig_error_set(&late, MIG_ERR_FAILED, 0, "something else");
    for (int i = 0; i < 3; i++) {
        struct seen s = {0};
        struct migration *m = make(&s, i == 2 ? MIGRATION_INCOMING : MIGRATION_OUTGOING);
        if (i == 0)
            assert_int_equal(migration_break_off(m, &why, NULL), 0);
        else
            assert_int_equal(migration_cancel(m, NULL), 0);
        assert_int_equal(migration_break_off(m, &late, NULL), 0); /* the first word counts */
        assert_int_equal(s.cancelled, 2);
        assert_true(migration_explain_cancel(m, &said));
        migration_get_status(m, &st);
        assert_int_equal(st.cancel_requested, i != 0);
        assert_int_equal(said.code, i == 0 ? MIG_ERR_FAILED : MIG_ERR_CANCELLED);
        assert_string_equal(said.message, i == 0   ? "the house burns"
                                          : i == 1 ? "The migration of dom was cancelled"
                                                   : "The migration of dom was cancelled at the destination");
        assert_int_equal(migration_begin_commit(m), -ECANCELED);
        finish(&s, m);
    }
}

static void test_what_fails_beside_it(void **state)
{
    struct mig_error beside, own;
    struct migration_status st;
    mig_error_set(&beside, MIG_ERR_FAILED, 0, "the other half failed");
    mig_error_set(&own, MIG_ERR_PEER_LOST, 0, "the peer is gone");
    for (int i = 0; i < 4; i++) { /* it completes or fails; before or after the other */
        struct seen s = {0};
        struct migration *m = make(&s, MIGRATION_OUTGOING);
        const bool completes = i & 1, first = i & 2;
        if (first)
            migration_failed_beside(m, &beside);
        migration_end(m, completes ? MIG_STATE_COMPLETED : MIG_STATE_FAILED, completes ? NULL : &own);
        if (!first)
            migration_failed_beside(m, &beside);
        migration_get_status(m, &st);
        assert_int_equal(st.state, completes ? MIG_STATE_COMPLETED : MIG_STATE_FAILED);
        assert_string_equal(st.error.message, completes ? beside.message : own.message);
        finish(&s, m);
    }
}

static void *news_thread(void *userdata)
{
    struct migration *m = userdata;
    for (int i = 0; i < 1000; i++)
        migration_set_verdict(m, "number %d", i);
    migration_round_completed(m, &(struct migration_round){.round = 7});
    struct mig_error doubt;
    mig_error_set(&doubt, MIG_ERR_IN_DOUBT, 0, "who knows");
    migration_end(m, MIG_STATE_IN_DOUBT, &doubt);
    migration_end(m, MIG_STATE_COMPLETED, NULL);
    return NULL;
}

static void test_news_arrive_on_the_main_thread(void **state)
{
    struct seen s = {0};
    struct migration *m = make(&s, MIGRATION_OUTGOING);
    pthread_t t;
    pthread_create(&t, NULL, news_thread, migration_ref(m));
    assert_int_equal(loop_run(s.loop), 0);
    pthread_join(t, NULL);
    assert_true(s.changed >= 1 && s.changed < 1000); /* coalesced */
    assert_int_equal(s.rounds, 1);
    assert_true(s.ended >= 1);
    struct migration_status st;
    migration_get_status(m, &st);
    assert_int_equal(st.state, MIG_STATE_COMPLETED);
    assert_int_equal(st.phase, MIG_PHASE_DONE);
    assert_string_equal(st.verdict, "number 999");
    assert_int_equal(strlen(st.id), MIGRATION_ID_LEN);
    migration_unref(m);
    migration_unref(m);
    loop_free(s.loop);
}

static char dir[64];

static int make_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/migd-records-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    char sub[100];
    snprintf(sub, sizeof sub, "%s/migrations", dir);
    return mkdir_parents(sub);
}

static int remove_dir(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static struct record sample(char digit, bool incoming, enum record_state state)
{
    struct record r = {
        .incoming = incoming, .state = state, .domain = "dom", .peer = "host:1", .token = "0123456789abcdef"};
    memset(r.id, digit, 32);
    return r;
}

static void test_records_come_back(void **state)
{
    struct record out = sample('a', false, RECORD_INTENT), in = sample('a', true, RECORD_PREPARED), back;
    assert_int_equal(record_write(dir, &out, NULL), 0);
    assert_int_equal(record_write(dir, &in, NULL), 0);
    assert_int_equal(record_read(dir, out.id, false, &back), 0);
    assert_memory_equal(&back, &out, sizeof back);
    assert_int_equal(record_read(dir, out.id, true, &back), 0);
    assert_int_equal(back.state, RECORD_PREPARED);
    out.state = RECORD_COMMITTED;
    assert_int_equal(record_write(dir, &out, NULL), 0);
    assert_int_equal(record_read(dir, out.id, false, &back), 0);
    assert_int_equal(back.state, RECORD_COMMITTED);
    record_forget(dir, "dom"); /* incoming ones only */
    assert_int_equal(record_read(dir, out.id, true, &back), -ENOENT);
    assert_int_equal(record_read(dir, out.id, false, &back), 0);
    record_remove(dir, out.id, false);
    assert_int_equal(record_read(dir, out.id, false, &back), -ENOENT);
}

static void test_ids_of_peers_are_no_paths(void **state)
{
    struct record back;
    assert_int_equal(record_read(dir, "../../../../etc/passwd", false, &back), -EINVAL);
    assert_int_equal(record_read(dir, "", false, &back), -EINVAL);
    assert_int_equal(record_read(dir, "ABCDEFABCDEFABCDEFABCDEFABCDEFAB", false, &back), -EINVAL);
}

static void test_damaged_records_are_skipped(void **state)
{
    char path[200];
    struct record *list, good = sample('b', false, RECORD_STARTED);
    size_t n;
    assert_int_equal(record_write(dir, &good, NULL), 0);
    snprintf(path, sizeof path, "%s/migrations/cccccccccccccccccccccccccccccccc.out", dir);
    assert_int_equal(write_file_atomic(path, "{\"id\": 3}", 9), 0);
    snprintf(path, sizeof path, "%s/migrations/notes", dir);
    assert_int_equal(write_file_atomic(path, "x", 1), 0);
    assert_int_equal(record_list(dir, &list, &n), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].id, good.id);
    free(list);
    record_remove(dir, good.id, false);
}

static void test_trim_keeps_what_is_undecided(void **state)
{
    struct record undecided = sample('d', false, RECORD_COMMITTED), old;
    assert_int_equal(record_write(dir, &undecided, NULL), 0);
    for (int i = 0; i < 8; i++) {
        old = sample((char)('0' + i), false, RECORD_ABORTED);
        assert_int_equal(record_write(dir, &old, NULL), 0);
    }
    record_trim(dir, 3);
    struct record *list;
    size_t n, aborted = 0;
    assert_int_equal(record_list(dir, &list, &n), 0);
    for (size_t i = 0; i < n; i++)
        aborted += list[i].state == RECORD_ABORTED;
    assert_int_equal(aborted, 3);
    assert_int_equal(n, 4);
    free(list);
    assert_int_equal(record_read(dir, undecided.id, false, &old), 0);
}

/* ---- what a daemon that ends leaves to say ---- */

struct successor {
    struct seen *seen;
    struct migration *shown[4];
    size_t n;
};

static void add_shown(struct migration *m, void *userdata)
{
    struct successor *next = userdata;
    assert_true(next->n < ELEMENTS(next->shown));
    next->shown[next->n++] = migration_ref(m);
    migration_set_observer(m, &(struct migration_observer){.ended = on_ended, .userdata = next->seen});
}

static void test_a_successor_says_how_it_ended(void **state)
{
    struct seen s = {0}, theirs = {0};
    struct successor next = {.seen = &theirs};
    struct mig_error why, err = MIG_ERROR_INIT;
    struct migration_status was, is;
    struct migration *m = make(&s, MIGRATION_OUTGOING);
    theirs.loop = s.loop;
    mig_error_set(&why, MIG_ERR_PEER_LOST, 0, "the peer \"b\" is lost");
    mig_error_hint(&why, "look at it");
    migration_set_engine_word(m, "libvirt");
    migration_set_verdict(m, "Failed: 100%% of it");
    migration_end(m, MIG_STATE_FAILED, &why);
    assert_int_equal(ended_write(dir, m, &err), 0);
    migration_get_status(m, &was);
    char bad[100];
    snprintf(bad, sizeof bad, "%s/ended/nonsense", dir);
    assert_int_equal(write_file_atomic(bad, "{}", 2), 0);

    ended_show(dir, s.loop, add_shown, &next);
    assert_int_equal(next.n, 1);
    migration_get_status(next.shown[0], &is);
    assert_int_equal(is.state, MIG_STATE_FAILED);
    assert_int_equal(is.phase, MIG_PHASE_DONE);
    assert_int_equal(is.direction, MIGRATION_OUTGOING);
    assert_string_equal(is.id, was.id);
    assert_string_equal(is.domain, was.domain);
    assert_string_equal(is.peer, was.peer);
    assert_string_equal(is.engine, "libvirt");
    assert_string_equal(is.verdict, "Failed: 100% of it");
    assert_int_equal(is.error.code, MIG_ERR_PEER_LOST);
    assert_string_equal(is.error.message, why.message);
    assert_string_equal(is.error.hint, "look at it");
    assert_int_equal(is.counters.started_usec, was.counters.started_usec);
    while (!s.ended || !theirs.ended) /* whoever counts the ends hears of it */
        assert_int_equal(loop_run(s.loop), 0);
    assert_int_equal(theirs.ended, 1);

    ended_show(dir, s.loop, add_shown, &next); /* once */
    assert_int_equal(next.n, 1);
    assert_true(access(bad, F_OK) < 0);
    migration_unref(next.shown[0]);
    finish(&s, m);
}

static void test_both_sides_in_one_daemon(void **state)
{
    struct seen s = {0};
    struct successor next = {.seen = &s};
    struct migration_options o;
    struct migration *out = make(&s, MIGRATION_OUTGOING), *in;
    migration_options_init(&o);
    assert_int_equal(migration_new(&in, s.loop, migration_id(out), MIGRATION_INCOMING, "dom", "a", &o), 0);
    migration_end(out, MIG_STATE_COMPLETED, NULL);
    migration_end(in, MIG_STATE_COMPLETED, NULL);
    assert_int_equal(ended_write(dir, out, NULL), 0);
    assert_int_equal(ended_write(dir, in, NULL), 0);
    ended_show(dir, s.loop, add_shown, &next);
    assert_int_equal(next.n, 2);
    assert_int_not_equal(migration_direction(next.shown[0]), migration_direction(next.shown[1]));
    for (size_t i = 0; i < next.n; i++) {
        assert_int_equal(migration_get_state(next.shown[i]), MIG_STATE_COMPLETED);
        migration_unref(next.shown[i]);
    }
    migration_unref(in);
    finish(&s, out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases_follow_the_table),
        cmocka_unit_test(test_cancel_and_commit_exclude_each_other),
        cmocka_unit_test(test_who_ends_it_says_why),
        cmocka_unit_test(test_what_fails_beside_it),
        cmocka_unit_test(test_news_arrive_on_the_main_thread),
        cmocka_unit_test(test_records_come_back),
        cmocka_unit_test(test_ids_of_peers_are_no_paths),
        cmocka_unit_test(test_damaged_records_are_skipped),
        cmocka_unit_test(test_trim_keeps_what_is_undecided),
        cmocka_unit_test(test_a_successor_says_how_it_ended),
        cmocka_unit_test(test_both_sides_in_one_daemon),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

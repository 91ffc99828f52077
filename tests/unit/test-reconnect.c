/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connections of a migration break after any number of bytes, once or several times, in either direction
 * and in the middle of frames. Before the blackout it goes on, with the memory of both sides the same in the
 * end and no more sent again than was in flight; in the blackout the source runs on. Never both, never
 * neither.
 */
#include "../fake/cutter.h"
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "test-random.h"
#include <stdio.h>
#include <string.h>

struct run {
    struct scene s;
    struct migration_options o;
    struct migration_status out, in;
    unsigned cuts;
};

static const char *path_of(const char *address)
{
    return strncmp(address, "unix:", 5) == 0 ? address + 5 : address;
}

static void go(struct run *r, const struct cutter_plan *plan)
{
    struct cutter *c;
    char at[100];
    snprintf(at, sizeof at, "%s/cutter", r->s.dir);
    assert_int_equal(cutter_new(&c, at, path_of(r->s.address), plan), 0);
    snprintf(r->s.source_peer, sizeof r->s.source_peer, "unix:%s", at);
    assert_int_equal(run_scene(&r->s, &r->o, NULL), 0);
    r->cuts = cutter_cuts(c);
    migration_get_status(r->s.source.migration, &r->out);
    if (r->s.destination.migration)
        migration_get_status(r->s.destination.migration, &r->in);
    cutter_free(c);
}

static void begin(struct run *r)
{
    *r = (struct run){0};
    make_scene(&r->s, 2);
    migration_options_init(&r->o);
    r->o.verify = VERIFY_STRICT;
    r->o.max_downtime_usec = 3 * USEC_PER_SEC;
    r->o.reconnect_usec = 5 * USEC_PER_SEC;
}

/* Whichever way it ended, exactly one side runs, and where it went nothing is missing. */
static void judge(struct run *r, uint64_t seed)
{
    bool done = r->out.state == MIG_STATE_COMPLETED;
    if (r->s.late || (!done && r->out.state != MIG_STATE_FAILED))
        fail_msg("seed %llu: late %d, %s: %s", (unsigned long long)seed, r->s.late,
                 mig_state_to_string(r->out.state), r->out.error.message);
    assert_true(side_runs_whole(done ? &r->s.destination : &r->s.source, 2));
    assert_false(side_runs(done ? &r->s.source : &r->s.destination, 2));
    if (done && memcmp(r->s.source.region->map, r->s.destination.region->map, MEMORY_BYTES) != 0)
        fail_msg("seed %llu: the memory differs", (unsigned long long)seed);
    /* To the page: what was sent and is not in place is what the breaks may have lost. */
    const struct migration_counters *o = &r->out.counters, *i = &r->in.counters;
    if (done && (o->normal_pages + o->zero_pages - i->normal_pages - i->zero_pages) * REGION_PAGE_SIZE !=
                    o->lost_bytes)
        fail_msg("seed %llu: sent %llu + %llu pages, in place %llu + %llu, lost %llu bytes",
                 (unsigned long long)seed, (unsigned long long)o->normal_pages,
                 (unsigned long long)o->zero_pages, (unsigned long long)i->normal_pages,
                 (unsigned long long)i->zero_pages, (unsigned long long)o->lost_bytes);
}

static void any_byte(void **state)
{
    unsigned resumed = 0, rolled_back = 0;
    struct rnd rnd = {.state = 7};
    const char *again = getenv("SEED");
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct run r;
        struct cutter_plan plan = {.away_msec = (unsigned)rnd_below(&rnd, 2) * 120};
        for (unsigned i = 0; i < 1 + seed % 3; i++)
            plan.at_bytes[i] = 1 + rnd_below(&rnd, i ? 2 << 20 : 6 << 20);
        if (again && strtoull(again, NULL, 0) != seed)
            continue;
        begin(&r);
        go(&r, &plan);
        judge(&r, seed);
        bool done = r.out.state == MIG_STATE_COMPLETED;
        resumed += done && r.out.counters.reconnects > 0;
        rolled_back += !done;
        end_scene(&r.s);
    }
    print_message("%u went on after breaks, %u were rolled back\n", resumed, rolled_back);
    assert_true(again || resumed >= 12);
}

static void off(void **state)
{
    struct run r;
    begin(&r);
    r.o.reconnect_usec = 0;
    go(&r, &(struct cutter_plan){.at_bytes = {1 << 20}});
    judge(&r, 0);
    assert_int_equal(r.out.state, MIG_STATE_FAILED);
    assert_int_equal(r.out.error.code, MIG_ERR_PEER_LOST);
    assert_int_equal(r.out.counters.reconnects, 0);
    end_scene(&r.s);
}

static void away_for_too_long(void **state)
{
    struct run r;
    begin(&r);
    r.o.reconnect_usec = USEC_PER_SEC;
    go(&r, &(struct cutter_plan){.at_bytes = {1 << 20}, .away_msec = 60000});
    judge(&r, 0);
    assert_int_equal(r.out.state, MIG_STATE_FAILED);
    assert_int_equal(r.out.error.code, MIG_ERR_PEER_LOST);
    assert_non_null(strstr(r.out.error.message, "could not be made again within 1"));
    /* The destination asked the source, and did not wait for longer than that took. */
    assert_int_equal(r.in.state, MIG_STATE_FAILED);
    assert_non_null(strstr(r.in.error.message, "given this migration up"));
    end_scene(&r.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_byte),
        cmocka_unit_test(off),
        cmocka_unit_test(away_for_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

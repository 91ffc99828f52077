/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The number of connections on links that are only arithmetic. */
#include "outgoing/growth.h"
#include "base/clock.h"
#include "base/util.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MB UINT64_C(1000000)

struct link {
    uint64_t each_rate, link_rate; /* bytes per second: of a connection, and of all */
    uint64_t cap;
    unsigned cpu_percent_each; /* of one processor, for a connection at its full rate */
    unsigned processors, connections;
    int open_result;
    unsigned slow_start; /* looks until a new one is up to speed */
    uint64_t now_usec, sent_bytes, cpu_usec;
    unsigned young;
};

static uint64_t sent(void *userdata)
{
    return ((struct link *)userdata)->sent_bytes;
}
static uint64_t cpu(void *userdata)
{
    return ((struct link *)userdata)->cpu_usec;
}
static uint64_t cap(void *userdata)
{
    return ((struct link *)userdata)->cap;
}
static int open_one(void *userdata)
{
    struct link *l = userdata;
    if (l->open_result < 0)
        return l->open_result;
    l->connections++;
    l->young = l->slow_start;
    return 0;
}
static const struct growth_ops ops = {sent, cpu, cap, open_one};

static void pass(struct link *l, uint64_t usec)
{
    unsigned fast = l->connections - (l->young > 0);
    uint64_t rate = MIN(fast * l->each_rate, l->link_rate), all_percent = 100 * l->processors;
    if (l->cpu_percent_each && fast * l->cpu_percent_each > all_percent)
        rate = MIN(rate, l->each_rate * all_percent / l->cpu_percent_each);
    if (l->cap)
        rate = MIN(rate, l->cap);
    l->young -= l->young > 0;
    l->now_usec += usec;
    l->sent_bytes += rate * usec / USEC_PER_SEC;
    l->cpu_usec += usec * l->cpu_percent_each * rate / l->each_rate / 100;
}

static void grow(struct link *l, struct growth *g)
{
    l->now_usec = 1;
    l->connections = 2;
    growth_init(g, &ops, l, 2, 16, l->processors);
    for (int i = 0; i < 1000 && !g->done; i++) {
        growth_look(g, l->now_usec);
        pass(l, GROWTH_INTERVAL_USEC / 2);
    }
    assert_true(g->done);
    assert_int_equal(g->connections, l->connections);
    print_message("%u: %s\n", g->connections, g->why);
}

static void a_full_link_stays_small(void **state)
{
    struct link l = {.each_rate = 100 * MB, .link_rate = 100 * MB, .processors = 8, .cpu_percent_each = 10};
    struct growth g;
    grow(&l, &g);
    assert_int_equal(l.connections, 3); /* one to see that it brings nothing */
    assert_non_null(strstr(g.why, "changed the speed by 0 %"));
}

static void connections_that_are_slow_alone_become_more(void **state)
{
    struct link l = {.each_rate = 100 * MB, .link_rate = 1000 * MB, .processors = 8, .slow_start = 2};
    struct growth g;
    grow(&l, &g);
    assert_in_range(l.connections, 10, 11);
    l = (struct link){.each_rate = 100 * MB, .link_rate = 100000 * MB, .processors = 64};
    grow(&l, &g);
    assert_in_range(l.connections, 10, 16); /* until one more is no longer a tenth more */
}

static void a_limit_is_kept(void **state)
{
    struct link l = {
        .each_rate = 100 * MB, .link_rate = 1000 * MB, .processors = 8, .connections = 2, .now_usec = 1};
    struct growth g;
    growth_init(&g, &ops, &l, 2, 4, 8);
    for (int i = 0; i < 100; i++) {
        growth_look(&g, l.now_usec);
        pass(&l, GROWTH_INTERVAL_USEC);
    }
    assert_int_equal(l.connections, 4);
    assert_string_equal(g.why, "no more are allowed");
    growth_init(&g, &ops, &l, 2, 2, 8);
    assert_true(g.done);
}

static void busy_processors_get_no_more(void **state)
{
    struct link l = {
        .each_rate = 1000 * MB, .link_rate = 10000 * MB, .processors = 2, .cpu_percent_each = 100};
    struct growth g;
    grow(&l, &g);
    assert_int_equal(l.connections, 2);
    assert_non_null(strstr(g.why, "processors"));
    l.processors = 4; /* a processor each, and the same connections */
    l.sent_bytes = l.cpu_usec = 0;
    grow(&l, &g);
    assert_int_equal(l.connections, 4);
    assert_non_null(strstr(g.why, "processors"));
}

static void a_cap_is_what_limits(void **state)
{
    struct link l = {.each_rate = 1000 * MB, .link_rate = 10000 * MB, .processors = 8, .cap = 50 * MB};
    struct growth g;
    grow(&l, &g);
    assert_int_equal(l.connections, 2);
    assert_non_null(strstr(g.why, "cap"));
}

static void one_that_cannot_be_opened_is_the_end(void **state)
{
    struct link l = {.each_rate = MB, .link_rate = 10 * MB, .processors = 8, .open_result = -ECONNREFUSED};
    struct growth g;
    grow(&l, &g);
    assert_int_equal(l.connections, 2);
    assert_non_null(strstr(g.why, "could not be opened"));
}

/* A link that stands still says nothing of the newest connection, and one bad interval is not yet a verdict.
 */
static void a_hiccup_is_no_verdict(void **state)
{
    struct link l = {
        .each_rate = 10 * MB, .link_rate = 1000 * MB, .processors = 8, .connections = 2, .now_usec = 1};
    struct growth g;
    growth_init(&g, &ops, &l, 2, 16, 8);
    while (l.connections < 4) {
        growth_look(&g, l.now_usec);
        pass(&l, GROWTH_INTERVAL_USEC);
    }
    growth_look(&g, l.now_usec); /* the new one has settled */
    for (int i = 0; i < 10; i++) {
        l.now_usec += GROWTH_INTERVAL_USEC;
        growth_look(&g, l.now_usec);
        assert_false(g.done);
    }
    assert_int_equal(l.connections, 4);
    l.link_rate = 30 * MB;
    pass(&l, GROWTH_INTERVAL_USEC);
    growth_look(&g, l.now_usec);
    assert_false(g.done);
    l.link_rate = 1000 * MB;
    pass(&l, GROWTH_INTERVAL_USEC);
    growth_look(&g, l.now_usec);
    assert_int_equal(l.connections, 5);
}

/* Rounds that are shorter than an interval say nothing, and so do the pauses between. */
static void short_rounds_say_nothing(void **state)
{
    struct link l = {.each_rate = MB, .link_rate = 10 * MB, .processors = 8, .connections = 2, .now_usec = 1};
    struct growth g;
    growth_init(&g, &ops, &l, 2, 16, 8);
    for (int i = 0; i < 100; i++) {
        growth_look(&g, l.now_usec);
        pass(&l, GROWTH_INTERVAL_USEC - 1);
        assert_false(growth_look(&g, l.now_usec));
        growth_rest(&g);
        l.now_usec += 10 * USEC_PER_SEC;
    }
    assert_int_equal(l.connections, 2);
    assert_false(g.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_link_stays_small),
        cmocka_unit_test(connections_that_are_slow_alone_become_more),
        cmocka_unit_test(a_limit_is_kept),
        cmocka_unit_test(busy_processors_get_no_more),
        cmocka_unit_test(a_cap_is_what_limits),
        cmocka_unit_test(one_that_cannot_be_opened_is_the_end),
        cmocka_unit_test(short_rounds_say_nothing),
        cmocka_unit_test(a_hiccup_is_no_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

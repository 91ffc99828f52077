/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/ratelimit.h"
#include "base/clock.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <cmocka.h>

struct taker {
    struct ratelimit *limit;
    uint64_t bytes, times;
    int result;
    _Atomic uint64_t ended_usec;
};

static void *take(void *p)
{
    struct taker *t = p;
    for (uint64_t i = 0; i < t->times && t->result == 0; i++)
        t->result = ratelimit_take(t->limit, t->bytes);
    t->ended_usec = now_usec();
    return NULL;
}

static void test_rate_is_shared(void **state)
{
    struct ratelimit *r = NULL;
    assert_int_equal(ratelimit_new(&r, 10000000), 0);
    struct taker t[3] = {0};
    pthread_t thread[3];
    uint64_t start = now_usec();
    for (int i = 0; i < 3; i++) {
        t[i] = (struct taker){.limit = r, .bytes = 50000, .times = 20};
        assert_int_equal(pthread_create(&thread[i], NULL, take, &t[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    uint64_t usec = now_usec() - start; /* 3 MB at 10 MB/s, less what was saved up and the last debt */
    assert_true(usec > 250000 && usec < 30 * USEC_PER_SEC);
    ratelimit_free(r);
}

static void test_no_cap(void **state)
{
    struct ratelimit *r = NULL;
    assert_int_equal(ratelimit_new(&r, 0), 0);
    uint64_t start = now_usec();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(ratelimit_take(r, UINT64_C(1) << 40), 0);
    assert_true(now_usec() - start < 30 * USEC_PER_SEC);
    ratelimit_free(r);
}

/* A large debt at a tiny rate is years; the new rate counts for who waits already. */
static void test_change_wakes(void **state)
{
    for (int to_no_cap = 0; to_no_cap < 2; to_no_cap++) {
        struct ratelimit *r = NULL;
        assert_int_equal(ratelimit_new(&r, 1), 0);
        assert_int_equal(ratelimit_take(r, 1 << 20), 0);
        struct taker t = {.limit = r, .bytes = 1, .times = 1};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, take, &t), 0);
        usleep(50000);
        assert_int_equal(t.ended_usec, 0);
        uint64_t start = now_usec();
        ratelimit_set(r, to_no_cap ? 0 : 10000000);
        pthread_join(thread, NULL);
        assert_int_equal(t.result, 0);
        uint64_t usec = t.ended_usec - start; /* the debt stays, and is paid at the new rate */
        assert_true(usec < 30 * USEC_PER_SEC && (to_no_cap || usec > 80000));
        ratelimit_free(r);
    }
}

static void test_cancel_wakes(void **state)
{
    struct ratelimit *r = NULL;
    assert_int_equal(ratelimit_new(&r, 1), 0);
    assert_int_equal(ratelimit_take(r, 1 << 20), 0);
    struct taker t = {.limit = r, .bytes = 1, .times = 1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take, &t), 0);
    usleep(20000);
    uint64_t start = now_usec();
    ratelimit_cancel(r);
    pthread_join(thread, NULL);
    assert_int_equal(t.result, -ECANCELED);
    assert_true(t.ended_usec - start < 30 * USEC_PER_SEC);
    assert_int_equal(ratelimit_take(r, 1), -ECANCELED);
    ratelimit_free(r);
}

/* ---- children ---- */

/* Takes until it is stopped. */
struct consumer {
    struct ratelimit *limit;
    uint64_t batch_bytes;
    _Atomic bool *stop;
    _Atomic uint64_t got;
    pthread_t thread;
};

static void *consume(void *p)
{
    struct consumer *c = p;
    while (!*c->stop && ratelimit_take(c->limit, c->batch_bytes) == 0)
        c->got += c->batch_bytes;
    return NULL;
}

static void start(struct consumer *c, struct ratelimit *limit, uint64_t batch_bytes, _Atomic bool *stop)
{
    *c = (struct consumer){.limit = limit, .batch_bytes = batch_bytes, .stop = stop};
    assert_int_equal(pthread_create(&c->thread, NULL, consume, c), 0);
}

/* One with eight connections and large batches gets no more than one with a single connection. */
static void test_two_children_share(void **state)
{
    struct ratelimit *total = NULL, *child[2] = {0};
    _Atomic bool stop = false;
    struct consumer c[9];
    assert_int_equal(ratelimit_new(&total, 20000000), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ratelimit_new_child(&child[i], total, 0), 0);
    for (int i = 0; i < 9; i++)
        start(&c[i], child[i > 0], i > 0 ? 100000 : 20000, &stop);
    usleep(1500000);
    uint64_t one = c[0].got, many = 0;
    for (int i = 1; i < 9; i++)
        many += c[i].got;
    stop = true;
    for (int i = 0; i < 9; i++)
        pthread_join(c[i].thread, NULL);
    print_message("# %llu and %llu bytes\n", (unsigned long long)one, (unsigned long long)many);
    assert_true(one * 100 >= (one + many) * 45 && many * 100 >= (one + many) * 45);
    assert_true(one + many < 45000000);
    for (int i = 0; i < 2; i++)
        ratelimit_free(child[i]);
    ratelimit_free(total);
}

static uint64_t got_in(struct consumer *c, uint64_t usec)
{
    uint64_t before = c->got;
    usleep((useconds_t)usec);
    return c->got - before;
}

/* What one does not want is the other's; when it comes back it gets its half, and nothing for the time in
 * which it was away. */
static void test_idle_share_is_used(void **state)
{
    struct ratelimit *total = NULL, *child[2] = {0};
    _Atomic bool stop = false, stop_late = false;
    struct consumer c[2];
    assert_int_equal(ratelimit_new(&total, 20000000), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ratelimit_new_child(&child[i], total, 0), 0);
    start(&c[0], child[0], 200000, &stop);
    uint64_t alone = got_in(&c[0], 1000000);
    uint64_t before = c[0].got;
    start(&c[1], child[1], 200000, &stop_late);
    uint64_t late = got_in(&c[1], 1000000), early = c[0].got - before;
    stop = stop_late = true;
    for (int i = 0; i < 2; i++)
        pthread_join(c[i].thread, NULL);
    print_message("# alone %llu, then %llu and %llu\n", (unsigned long long)alone, (unsigned long long)early,
                  (unsigned long long)late);
    assert_true(alone * 100 >= early * 130);
    assert_true(early * 100 >= (early + late) * 45 && late * 100 >= (early + late) * 45);
    for (int i = 0; i < 2; i++)
        ratelimit_free(child[i]);
    ratelimit_free(total);
}

/* A child's own cap holds below its share, and the rest is the other's. */
static void test_own_cap(void **state)
{
    struct ratelimit *total = NULL, *child[2] = {0};
    _Atomic bool stop = false;
    struct consumer c[2];
    assert_int_equal(ratelimit_new(&total, 20000000), 0);
    assert_int_equal(ratelimit_new_child(&child[0], total, 2000000), 0);
    assert_int_equal(ratelimit_new_child(&child[1], total, 0), 0);
    assert_int_equal(ratelimit_share(child[0]), 2000000);
    assert_int_equal(ratelimit_share(child[1]), 20000000);
    for (int i = 0; i < 2; i++)
        start(&c[i], child[i], 20000, &stop);
    usleep(1000000);
    assert_int_equal(ratelimit_share(child[0]), 2000000);
    assert_int_equal(ratelimit_share(child[1]), 10000000);
    ratelimit_set(total, 0);
    assert_int_equal(ratelimit_share(child[1]), 0);
    stop = true;
    ratelimit_set(child[0], 0);
    for (int i = 0; i < 2; i++)
        pthread_join(c[i].thread, NULL);
    ratelimit_free(child[0]);
    ratelimit_free(child[1]);
    ratelimit_free(total);
}

static void test_charge_never_waits(void **state)
{
    struct ratelimit *total = NULL, *child = NULL, *other = NULL;
    assert_int_equal(ratelimit_new(&total, 10000000), 0);
    assert_int_equal(ratelimit_new_child(&child, total, 1000), 0);
    assert_int_equal(ratelimit_new_child(&other, total, 0), 0);
    uint64_t begun = now_usec();
    for (int i = 0; i < 1000; i++)
        ratelimit_charge(child, UINT64_C(1) << 30);
    assert_true(now_usec() - begun < 30 * USEC_PER_SEC);
    struct taker t = {.limit = other, .bytes = 1, .times = 1};
    take(&t); /* yields, but not for the hours that a terabyte would take */
    uint64_t usec = t.ended_usec - begun;
    assert_int_equal(t.result, 0);
    assert_true(usec > 700000 && usec < 30 * USEC_PER_SEC);
    ratelimit_cancel(child);
    ratelimit_charge(child, 1);
    ratelimit_free(child);
    ratelimit_free(other);
    ratelimit_free(total);
}

/* Jain's index: 1 when all get the same, 1/n when one gets all. */
static void test_twenty_are_fair(void **state)
{
    enum { N = 20 };
    struct ratelimit *total = NULL, *child[N] = {0};
    _Atomic bool stop = false;
    struct consumer c[N];
    assert_int_equal(ratelimit_new(&total, 40000000), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(ratelimit_new_child(&child[i], total, 0), 0);
        start(&c[i], child[i], i % 2 ? 5000 : 50000, &stop);
    }
    usleep(2000000);
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        double got = (double)c[i].got;
        sum += got;
        squares += got * got;
    }
    stop = true;
    for (int i = 0; i < N; i++)
        pthread_join(c[i].thread, NULL);
    double jain = sum * sum / (N * squares);
    print_message("# Jain %.3f, %.0f bytes\n", jain, sum);
    assert_true(jain >= 0.95);
    assert_true(sum < 120000000);
    for (int i = 0; i < N; i++)
        ratelimit_free(child[i]);
    ratelimit_free(total);
}

/* Both who waits for the tokens and who waits for its turn. */
static void test_change_of_total_wakes(void **state)
{
    struct ratelimit *total = NULL, *child[3] = {0};
    struct taker t[3] = {0};
    pthread_t thread[3];
    assert_int_equal(ratelimit_new(&total, 1), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ratelimit_new_child(&child[i], total, 0), 0);
    assert_int_equal(ratelimit_take(child[0], 1 << 20), 0);
    for (int i = 0; i < 3; i++) {
        t[i] = (struct taker){.limit = child[i], .bytes = 1 << 20, .times = 1};
        assert_int_equal(pthread_create(&thread[i], NULL, take, &t[i]), 0);
    }
    usleep(50000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(t[i].ended_usec, 0);
    uint64_t begun = now_usec();
    ratelimit_set(total, 10000000);
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(t[i].result, 0);
        assert_true(t[i].ended_usec - begun < 30 * USEC_PER_SEC);
        ratelimit_free(child[i]);
    }
    ratelimit_free(total);
}

static void test_cancel_of_a_child(void **state)
{
    struct ratelimit *total = NULL, *child[2] = {0};
    struct taker t[2] = {0};
    pthread_t thread[2];
    assert_int_equal(ratelimit_new(&total, 1), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ratelimit_new_child(&child[i], total, 0), 0);
    assert_int_equal(ratelimit_take(child[0], 1 << 20), 0);
    for (int i = 0; i < 2; i++) {
        t[i] = (struct taker){.limit = child[i], .bytes = 1, .times = 1};
        assert_int_equal(pthread_create(&thread[i], NULL, take, &t[i]), 0);
    }
    usleep(20000);
    uint64_t begun = now_usec();
    ratelimit_cancel(child[1]);
    pthread_join(thread[1], NULL);
    assert_int_equal(t[1].result, -ECANCELED);
    assert_true(t[1].ended_usec - begun < 30 * USEC_PER_SEC);
    assert_int_equal(t[0].ended_usec, 0);
    ratelimit_free(child[1]);
    ratelimit_set(total, 0);
    pthread_join(thread[0], NULL);
    assert_int_equal(t[0].result, 0);
    ratelimit_free(child[0]);
    ratelimit_free(total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate_is_shared),
                                       cmocka_unit_test(test_no_cap),
                                       cmocka_unit_test(test_change_wakes),
                                       cmocka_unit_test(test_cancel_wakes),
                                       cmocka_unit_test(test_two_children_share),
                                       cmocka_unit_test(test_idle_share_is_used),
                                       cmocka_unit_test(test_own_cap),
                                       cmocka_unit_test(test_charge_never_waits),
                                       cmocka_unit_test(test_twenty_are_fair),
                                       cmocka_unit_test(test_change_of_total_wakes),
                                       cmocka_unit_test(test_cancel_of_a_child)};
    alarm(30);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

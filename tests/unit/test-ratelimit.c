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
    assert_true(usec > 250000 && usec < 1500000);
    ratelimit_free(r);
}

static void test_no_cap(void **state)
{
    struct ratelimit *r = NULL;
    assert_int_equal(ratelimit_new(&r, 0), 0);
    uint64_t start = now_usec();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(ratelimit_take(r, UINT64_C(1) << 40), 0);
    assert_true(now_usec() - start < 500000);
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
        assert_true(usec < 1000000 && (to_no_cap || usec > 80000));
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
    assert_true(t.ended_usec - start < 500000);
    assert_int_equal(ratelimit_take(r, 1), -ECANCELED);
    ratelimit_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate_is_shared), cmocka_unit_test(test_no_cap),
                                       cmocka_unit_test(test_change_wakes),
                                       cmocka_unit_test(test_cancel_wakes)};
    alarm(30);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bitmaps against a model of one byte per bit: random ranges, ORs at any alignment, runs, and atomics under
 * threads. */
#include "base/bitmap.h"
#include "base/words.h"
#include "test-random.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <stdio.h>
#include <cmocka.h>

static const uint64_t sizes[] = {1, 63, 64, 65, 127, 512, 1000, 4096, 4097, 20000};

static void assert_same(const struct bitmap *b, const uint8_t *model)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < b->nbits; i++) {
        if (bitmap_test(b, i) != model[i])
            fail_msg("bit %lu of %lu is %d", (unsigned long)i, (unsigned long)b->nbits, !model[i]);
        count += model[i];
    }
    assert_int_equal(bitmap_count(b), count);
    assert_int_equal(bitmap_is_empty(b), count == 0);
    if (b->nbits % 64)
        assert_int_equal(b->words[b->nwords - 1] >> (b->nbits % 64), 0);
}

/* Runs by one call each, and by the batch, inside [from, end). */
static void assert_runs(const struct bitmap *b, const uint8_t *model, uint64_t from, uint64_t end,
                        uint64_t max_count)
{
    uint64_t at = from, first = 0, count = 0;
    for (uint64_t i = from; i < end;) {
        if (!model[i]) {
            i++;
            continue;
        }
        uint64_t j = i;
        while (j < end && model[j] && j - i < max_count)
            j++;
        assert_true(bitmap_next_run(b, at, end, max_count, &first, &count));
        assert_int_equal(first, i);
        assert_int_equal(count, j - i);
        at = first + count;
        i = j;
    }
    assert_false(bitmap_next_run(b, at, end, max_count, &first, &count));

    static struct bitmap_run runs[BITMAP_RUNS_MIN];
    uint64_t pos = from, i = from;
    while (pos < end) {
        size_t n = bitmap_runs(b, &pos, end, runs, ELEMENTS(runs));
        for (size_t k = 0; k < n; k++) {
            while (i < end && !model[i])
                i++;
            assert_int_equal(runs[k].first, i);
            while (i < end && model[i])
                i++;
            assert_int_equal(runs[k].end, i);
        }
    }
    while (i < end && !model[i])
        i++;
    assert_int_equal(i, MAX(from, end));
}

static void test_ranges(void **state)
{
    struct rnd rnd = {1};
    for (size_t s = 0; s < ELEMENTS(sizes); s++) {
        uint64_t n = sizes[s];
        _cleanup_(bitmap_freep) struct bitmap *b = NULL;
        _cleanup_free_ uint8_t *model = calloc(1, n);
        assert_int_equal(bitmap_new(&b, n), 0);
        for (int step = 0; step < 400; step++) {
            uint64_t first = rnd_below(&rnd, n), count = rnd_below(&rnd, step % 3 ? 100 : n + 70);
            bool set = rnd_next(&rnd) & 1;
            uint64_t fresh = 0;
            for (uint64_t i = first; i < n && i < first + count; i++)
                fresh += !model[i];
            if (set && step % 4 == 2)
                assert_int_equal(bitmap_set_range_counted(b, first, count), fresh);
            else if (set && step % 2)
                bitmap_set_range_atomic(b, first, count);
            else if (set)
                bitmap_set_range(b, first, count);
            else
                bitmap_clear_range(b, first, count);
            for (uint64_t i = first; i < n && i < first + count; i++)
                model[i] = set;
            if (step % 20 == 0)
                assert_same(b, model);
            uint64_t from = rnd_below(&rnd, n), end = rnd_below(&rnd, n + 1);
            if (step % 40 == 0)
                assert_runs(b, model, MIN(from, end), end, step % 80 ? 7 : UINT64_MAX);
        }
        assert_runs(b, model, 0, n, UINT64_MAX);
        bitmap_clear_all(b);
        assert_true(bitmap_is_empty(b));
        bitmap_set_range(b, 0, UINT64_MAX); /* clipped, not overflowed */
        assert_int_equal(bitmap_count(b), n);
        bitmap_set_range(b, n, 1);
        bitmap_clear_range(b, n + 5, 3);
        assert_false(bitmap_test(b, n));
        assert_int_equal(bitmap_count(b), n);
    }
}

/* Random densities, so that the batch meets words with more edges than it expects, and batches that fill up.
 */
static void test_densities(void **state)
{
    enum { N = 300000 };
    struct rnd rnd = {2};
    _cleanup_(bitmap_freep) struct bitmap *b = NULL;
    _cleanup_free_ uint8_t *model = malloc(N);
    assert_int_equal(bitmap_new(&b, N), 0);
    for (unsigned per_1024 = 1; per_1024 <= 1024; per_1024 *= 2) {
        bitmap_clear_all(b);
        for (uint64_t i = 0; i < N; i++)
            if ((model[i] = rnd_below(&rnd, 1024) < per_1024))
                bitmap_set_range(b, i, 1);
        assert_same(b, model);
        assert_runs(b, model, 0, N, UINT64_MAX);
        assert_runs(b, model, 1000 + per_1024, N - 777 - per_1024, 3);
    }
    for (uint64_t i = 0; i < N; i++) { /* as many edges as there can be */
        model[i] = i & 1;
        bitmap_clear_range(b, i, 1);
        bitmap_set_range(b, i, i & 1);
    }
    assert_runs(b, model, 0, N, UINT64_MAX);
}

static void test_or(void **state)
{
    struct rnd rnd = {3};
    for (size_t s = 0; s < ELEMENTS(sizes); s++) {
        uint64_t n = sizes[s], nwords = div_round_up(n, 64) + 2;
        _cleanup_(bitmap_freep) struct bitmap *b = NULL;
        _cleanup_free_ uint8_t *model = calloc(1, n);
        _cleanup_free_ uint64_t *src = malloc(nwords * 8);
        assert_int_equal(bitmap_new(&b, n), 0);
        for (int step = 0; step < 300; step++) {
            for (uint64_t i = 0; i < nwords; i++)
                src[i] = rnd_below(&rnd, 4) ? 0 : rnd_next(&rnd) & rnd_next(&rnd);
            if (step % 7 == 0)
                memset(src, step % 2 ? 0xff : 0, nwords * 8);
            uint64_t first = step % 3 ? rnd_below(&rnd, n) : align_down(rnd_below(&rnd, n), 64);
            uint64_t nbits = rnd_below(&rnd, n + 64), set = 0, fresh = 0, got_set = 9, got_new = 9;
            for (uint64_t i = 0; i < nbits && first + i < n; i++)
                if (src[i / 64] >> (i % 64) & 1) {
                    set++;
                    fresh += !model[first + i];
                    model[first + i] = 1;
                }
            bitmap_or_words(b, first, src, nbits, &got_set, &got_new);
            assert_int_equal(got_set, set);
            assert_int_equal(got_new, fresh);
            if (step % 10 == 0)
                assert_same(b, model);
            if (step % 50 == 49) {
                bitmap_clear_all(b);
                memset(model, 0, n);
            }
        }
        assert_same(b, model);
    }
}

static void test_words(void **state)
{
    enum { N = 700 };
    uint64_t w[N];
    for (uint64_t at = 0; at < N; at += 13) {
        memset(w, 0, sizeof w);
        w[at] = UINT64_C(1) << (at % 64);
        for (uint64_t from = 0; from <= N; from += 7) {
            assert_int_equal(words_skip_clean(w, from, N), from <= at ? at : N);
            for (uint64_t i = 0; i < N; i++)
                w[i] = ~w[i];
            assert_int_equal(words_skip_full(w, from, N), from <= at ? at : N);
            for (uint64_t i = 0; i < N; i++)
                w[i] = ~w[i];
        }
    }
}

/* Always 0 under ThreadSanitizer, whose own memory grows with every address touched. */
static long resident_kib(void)
{
#ifdef __SANITIZE_THREAD__
    return 0;
#endif
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*s %ld", &pages), 1);
    fclose(f);
    return pages * 4;
}

/* A bitmap of 8 TiB of pages: what is not written costs nothing, scanned or not, and clear_all gives back. */
static void test_large(void **state)
{
    uint64_t n = UINT64_C(1) << 31, first, count;
    _cleanup_(bitmap_freep) struct bitmap *b = NULL;
    assert_int_equal(bitmap_new(&b, n), 0);
    long before = resident_kib();
    bitmap_set_range(b, n - 5, 5);
    bitmap_set_range(b, n / 2, 1);
    assert_true(bitmap_next_run(b, 0, n, UINT64_MAX, &first, &count));
    assert_int_equal(first, n / 2);
    assert_true(bitmap_next_run(b, first + count, n, UINT64_MAX, &first, &count));
    assert_int_equal(first, n - 5);
    assert_int_equal(count, 5);
    assert_int_equal(bitmap_count(b), 6);
    assert_true(resident_kib() - before < 40 * 1024);
    bitmap_set_range(b, 0, n / 4);
#ifndef __SANITIZE_THREAD__
    assert_true(resident_kib() - before > 40 * 1024);
#endif
    bitmap_clear_all(b);
    assert_true(bitmap_is_empty(b));
    assert_true(resident_kib() - before < 40 * 1024);
}

static void test_refused(void **state)
{
    struct bitmap *b = NULL;
    assert_int_equal(bitmap_new(&b, 0), -EINVAL);
    assert_int_equal(bitmap_new(&b, UINT64_MAX), -ENOMEM);
    assert_null(b);
    assert_null(bitmap_free(NULL));
}

enum { SHARED_BITS = 8192, ROUNDS = 20000, SETTERS = 2 };
struct shared {
    struct bitmap *marks;
    uint64_t set[SETTERS]; /* bits that each setter asked for */
};
struct setter {
    struct shared *shared;
    unsigned id;
};

/* Each setter owns every second bit, and sets a bit again only once it was seen taken: so every set is one
 * bit taken. */
static void *setter_main(void *arg)
{
    struct setter *me = arg;
    struct shared *s = me->shared;
    struct rnd rnd = {100 + me->id};
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t bit = rnd_below(&rnd, SHARED_BITS / SETTERS) * SETTERS + me->id;
        if (__atomic_load_n(&s->marks->words[bit / 64], __ATOMIC_ACQUIRE) >> (bit % 64) & 1)
            continue;
        bitmap_set_range_atomic(s->marks, bit, 1);
        s->set[me->id]++;
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct shared s = {0};
    _cleanup_(bitmap_freep) struct bitmap *dst = NULL;
    assert_int_equal(bitmap_new(&s.marks, SHARED_BITS), 0);
    assert_int_equal(bitmap_new(&dst, SHARED_BITS), 0);
    pthread_t thread[SETTERS];
    struct setter setter[SETTERS];
    for (unsigned i = 0; i < SETTERS; i++) {
        setter[i] = (struct setter){&s, i};
        assert_int_equal(pthread_create(&thread[i], NULL, setter_main, &setter[i]), 0);
    }
    uint64_t taken = 0, n = 0;
    for (unsigned i = 0; i < 2000; i++) {
        if (i % 2) {
            bitmap_take_atomic(dst, s.marks, &n, NULL);
        } else {
            uint64_t words[SHARED_BITS / 64];
            bitmap_take_words_atomic(words, s.marks->words, ELEMENTS(words));
            n = words_count(words, ELEMENTS(words));
            bitmap_or_words(dst, 0, words, SHARED_BITS, NULL, NULL);
        }
        taken += n;
    }
    for (unsigned i = 0; i < SETTERS; i++)
        pthread_join(thread[i], NULL);
    bitmap_take_atomic(dst, s.marks, &n, NULL);
    taken += n;
    assert_int_equal(taken, s.set[0] + s.set[1]);
    assert_true(bitmap_is_empty(s.marks));
    bitmap_free(s.marks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),  cmocka_unit_test(test_densities), cmocka_unit_test(test_or),
        cmocka_unit_test(test_words),   cmocka_unit_test(test_large),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

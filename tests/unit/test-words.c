/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every variant of the loops in words.c against the plainest code, whatever this processor would pick: the
 * file is compiled into the test.
 */
#include "base/words.c"
#include "test-random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { N = 300 };

struct variant {
    const char *name;
    bool here;
    uint64_t (*skip_clean)(const uint64_t *, uint64_t, uint64_t);
    uint64_t (*skip_full)(const uint64_t *, uint64_t, uint64_t);
    uint64_t (*count)(const uint64_t *, uint64_t);
    void (* or)(uint64_t *, const uint64_t *, uint64_t, uint64_t *, uint64_t *);
    size_t (*edges)(const uint64_t *, uint64_t, uint64_t, uint64_t *, size_t, uint64_t *);
};

static uint64_t skip_clean_v0(const uint64_t *w, uint64_t from, uint64_t n)
{
    return words_skip_clean_body(w, from, n, 0);
}

static uint64_t skip_full_v0(const uint64_t *w, uint64_t from, uint64_t n)
{
    return words_skip_full_body(w, from, n, 0);
}

static uint64_t count_v0(const uint64_t *w, uint64_t n)
{
    return words_count_body(w, n, 0);
}

static void or_v0(uint64_t *dst, const uint64_t *src, uint64_t n, uint64_t *set, uint64_t *fresh)
{
    words_or_body(dst, src, n, set, fresh, 0);
}

static size_t edges_v0(const uint64_t *w, uint64_t from, uint64_t n, uint64_t *edges, size_t max,
                       uint64_t *next)
{
    return words_edges_body(w, from, n, edges, max, next, 0);
}

static struct variant variants[] = {
    {"portable", true, skip_clean_v0, skip_full_v0, count_v0, or_v0, edges_v0},
#if defined(__x86_64__)
    {"AVX2", false, words_skip_clean_v3, words_skip_full_v3, words_count_v3, words_or_v3, words_edges_v3},
    {"AVX-512", false, words_skip_clean_v4, words_skip_full_v4, words_count_v4, words_or_v4, words_edges_v4},
    {"AVX-512 with VPOPCNTDQ", false, words_skip_clean_v5, words_skip_full_v5, words_count_v5, words_or_v5,
     words_edges_v5},
#endif
};

/* From nearly clean to nearly full, with long stretches of both. */
static void fill(uint64_t *w, struct rnd *rnd, unsigned density)
{
    for (unsigned i = 0; i < N; i++) {
        uint64_t x = rnd_next(rnd);
        for (unsigned k = 0; k < 7; k++)
            x = density > k ? x | rnd_next(rnd) : x & rnd_next(rnd);
        if (density == 0 || density == 8)
            x = rnd_below(rnd, 40) ? 0 : x;
        if (density == 8)
            x = ~x;
        w[i] = x;
    }
}

static void check(const struct variant *v, const uint64_t *w, struct rnd *rnd)
{
    static uint64_t got[WORDS_EDGES_MIN + N * 64], expect[N * 64], dst[N], model[N];
    uint64_t from = rnd_below(rnd, N), n = from + rnd_below(rnd, N - from + 1), i;
    for (i = from; i < n && w[i] == 0; i++)
        ;
    assert_int_equal(v->skip_clean(w, from, n), i);
    for (i = from; i < n && w[i] == UINT64_MAX; i++)
        ;
    assert_int_equal(v->skip_full(w, from, n), i);

    uint64_t count = 0, set = 5, fresh = 7, new_bits = 0;
    for (i = 0; i < n - from; i++) {
        count += (uint64_t)__builtin_popcountll(w[from + i]);
        dst[i] = rnd_next(rnd) & rnd_next(rnd);
        model[i] = dst[i] | w[from + i];
        new_bits += (uint64_t)__builtin_popcountll(w[from + i] & ~dst[i]);
    }
    assert_int_equal(v->count(w + from, n - from), count);
    v->or (dst, w + from, n - from, &set, &fresh);
    assert_int_equal(set, 5 + count);
    assert_int_equal(fresh, 7 + new_bits);
    assert_memory_equal(dst, model, (n - from) * 8);

    if (from == 0 || from > n)
        return;
    size_t edges = 0, found = 0;
    for (uint64_t bit = from * 64; bit < n * 64; bit++)
        if ((w[bit / 64] >> (bit % 64) & 1) != (w[(bit - 1) / 64] >> ((bit - 1) % 64) & 1))
            expect[edges++] = bit;
    uint64_t next = from;
    while (next < n) { /* with the least room that it accepts */
        uint64_t before = next;
        size_t k = v->edges(w, next, n, got + found, WORDS_EDGES_MIN, &next);
        assert_true(k <= WORDS_EDGES_MIN && next > before);
        found += k;
    }
    assert_int_equal(found, edges);
    assert_memory_equal(got, expect, edges * 8);
}

static void test_variants(void **state)
{
#if defined(__x86_64__)
    variants[1].here = HAVE_V3;
    variants[2].here = HAVE_V4;
    variants[3].here = HAVE_V5;
#endif
    uint64_t w[N];
    struct rnd rnd = {11};
    for (size_t v = 0; v < ELEMENTS(variants); v++) {
        if (!variants[v].here) {
            print_message("this processor has no %s\n", variants[v].name);
            continue;
        }
        for (unsigned i = 0; i < 900; i++) {
            fill(w, &rnd, i % 9);
            check(&variants[v], w, &rnd);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_variants)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: a bitmap scan is bound by memory, so the work per cache line must hide behind its
 * load. The clean case ORs 256 bytes into one vector and takes one branch on it, which is always predicted
 * the same way until something is found. The dirty case avoids branches that depend on the data, since a
 * misprediction (15 to 20 cycles) costs more than a word.
 *
 * Every body is an always-inline function that is compiled four times through MULTI(), and is told
 * the level, a constant. The compiler's ifunc
 * based target_clones would do the same, but its resolvers run before ThreadSanitizer is up.
 */
#include "base/words.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define TARGET_V3 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#define TARGET_V4                                                                                            \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,bmi,bmi2,popcnt,lzcnt")))
#define TARGET_V5                                                                                            \
    __attribute__((                                                                                          \
        target("avx512vpopcntdq,avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,bmi,bmi2,popcnt,lzcnt")))
/* Each test is a load and a mask of what libgcc's start-up code found; cheap enough for every call. */
#define HAVE_V3 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
#define HAVE_V4 (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && HAVE_V3)
#define HAVE_V5 (__builtin_cpu_supports("avx512vpopcntdq") && HAVE_V4)
#define VARIANT(target, level, type, name, params, ...)                                                      \
    target static type name##_v##level params                                                                \
    {                                                                                                        \
        return name##_body(__VA_ARGS__, level);                                                              \
    }
#define MULTI(type, name, params, ...)                                                                       \
    VARIANT(TARGET_V5, 5, type, name, params, __VA_ARGS__)                                                   \
    VARIANT(TARGET_V4, 4, type, name, params, __VA_ARGS__)                                                   \
    VARIANT(TARGET_V3, 3, type, name, params, __VA_ARGS__)                                                   \
    type name params                                                                                         \
    {                                                                                                        \
        if (HAVE_V5)                                                                                         \
            return name##_v5(__VA_ARGS__);                                                                   \
        if (HAVE_V4)                                                                                         \
            return name##_v4(__VA_ARGS__);                                                                   \
        if (HAVE_V3)                                                                                         \
            return name##_v3(__VA_ARGS__);                                                                   \
        return name##_body(__VA_ARGS__, 0);                                                                  \
    }
#else
#define MULTI(type, name, params, ...)                                                                       \
    type name params                                                                                         \
    {                                                                                                        \
        return name##_body(__VA_ARGS__, 0);                                                                  \
    }
#endif

/* Eight words: one cache line. Aligned to a word only, since reports arrive in buffers of others. */
typedef uint64_t line_t __attribute__((vector_size(64), aligned(8), may_alias));
#define LINE_WORDS  8u
#define BLOCK_WORDS (4 * LINE_WORDS)

#define AS_LINE(p) (*(const line_t *)(p))
/* A macro, since a 64-byte vector as a parameter has no agreed calling convention without AVX-512. */
#define LINE_ANY(v) (((v)[0] | (v)[1] | (v)[2] | (v)[3] | (v)[4] | (v)[5] | (v)[6] | (v)[7]) != 0)

/* How far ahead lines are asked for. The hardware prefetcher stops at the end of each 4 KiB page. */
#define AHEAD_WORDS (4096u / 8)

/* The first word that differs from `skip`, which is a constant after inlining. */
ALWAYS_INLINE uint64_t skip_body(const uint64_t *words, uint64_t from, uint64_t n, uint64_t skip)
{
    uint64_t i = from;
    for (; i < n && i % BLOCK_WORDS; i++)
        if (words[i] != skip)
            return i;
    for (; n - i >= BLOCK_WORDS && i < n; i += BLOCK_WORDS) {
        const uint64_t *w = words + i;
        for (unsigned k = 0; k < BLOCK_WORDS; k += LINE_WORDS)
            __builtin_prefetch(w + AHEAD_WORDS + k);
        line_t any = (AS_LINE(w) ^ skip) | (AS_LINE(w + 8) ^ skip) | (AS_LINE(w + 16) ^ skip) |
                     (AS_LINE(w + 24) ^ skip);
        if (LINE_ANY(any))
            break;
    }
    while (i < n && words[i] == skip)
        i++;
    return i;
}

ALWAYS_INLINE uint64_t words_skip_clean_body(const uint64_t *words, uint64_t from, uint64_t n, int level)
{
    return skip_body(words, from, n, 0);
}
MULTI(uint64_t, words_skip_clean, (const uint64_t *words, uint64_t from, uint64_t n), words, from, n)

ALWAYS_INLINE uint64_t words_skip_full_body(const uint64_t *words, uint64_t from, uint64_t n, int level)
{
    return skip_body(words, from, n, UINT64_MAX);
}
MULTI(uint64_t, words_skip_full, (const uint64_t *words, uint64_t from, uint64_t n), words, from, n)

ALWAYS_INLINE uint64_t words_count_body(const uint64_t *words, uint64_t n, int level)
{
    uint64_t sum = 0, i = 0;
    for (; n - i >= LINE_WORDS; i += LINE_WORDS) {
        __builtin_prefetch(words + i + AHEAD_WORDS);
        for (unsigned k = 0; k < LINE_WORDS; k++)
            sum += (uint64_t)__builtin_popcountll(words[i + k]);
    }
    for (; i < n; i++)
        sum += (uint64_t)__builtin_popcountll(words[i]);
    return sum;
}
MULTI(uint64_t, words_count, (const uint64_t *words, uint64_t n), words, n)

/* One cache line that is not clean. */
ALWAYS_INLINE void or_line(uint64_t *dst, const uint64_t *src, uint64_t *set, uint64_t *fresh)
{
    for (unsigned k = 0; k < LINE_WORDS; k++) {
        uint64_t s = src[k], d = dst[k];
        *set += (uint64_t)__builtin_popcountll(s);
        *fresh += (uint64_t)__builtin_popcountll(s & ~d);
        dst[k] = d | s;
    }
}

#if defined(__x86_64__)
/* The same for a block, counting eight words at a time. */
TARGET_V5 static void or_block_v5(uint64_t *dst, const uint64_t *src, uint64_t *set, uint64_t *fresh)
{
    __m512i s_sum = _mm512_setzero_si512(), f_sum = s_sum;
    for (unsigned k = 0; k < BLOCK_WORDS; k += LINE_WORDS) {
        __m512i s = _mm512_loadu_si512(src + k);
        if (!_mm512_test_epi64_mask(s, s))
            continue;
        __m512i d = _mm512_loadu_si512(dst + k);
        s_sum = _mm512_add_epi64(s_sum, _mm512_popcnt_epi64(s));
        f_sum = _mm512_add_epi64(f_sum, _mm512_popcnt_epi64(_mm512_andnot_si512(d, s)));
        _mm512_storeu_si512(dst + k, _mm512_or_si512(d, s));
    }
    *set += (uint64_t)_mm512_reduce_add_epi64(s_sum);
    *fresh += (uint64_t)_mm512_reduce_add_epi64(f_sum);
}
#else
#define or_block_v5(dst, src, set, fresh) ((void)0)
#endif

ALWAYS_INLINE void words_or_body(uint64_t *dst, const uint64_t *src, uint64_t n, uint64_t *set,
                                 uint64_t *fresh, int level)
{
    uint64_t s = 0, f = 0, i = 0;
    for (; n - i >= BLOCK_WORDS; i += BLOCK_WORDS) {
        const uint64_t *w = src + i;
        for (unsigned k = 0; k < BLOCK_WORDS; k += LINE_WORDS)
            __builtin_prefetch(w + AHEAD_WORDS + k);
        line_t any = AS_LINE(w) | AS_LINE(w + 8) | AS_LINE(w + 16) | AS_LINE(w + 24);
        if (!LINE_ANY(any))
            continue;
        if (level >= 5) {
            or_block_v5(dst + i, w, &s, &f);
            continue;
        }
        for (unsigned k = 0; k < BLOCK_WORDS; k += LINE_WORDS)
            if (LINE_ANY(AS_LINE(w + k)))
                or_line(dst + i + k, w + k, &s, &f);
    }
    for (; i < n; i++) {
        uint64_t w = src[i], d = dst[i];
        if (!w)
            continue;
        s += (uint64_t)__builtin_popcountll(w);
        f += (uint64_t)__builtin_popcountll(w & ~d);
        dst[i] = d | w;
    }
    *set += s;
    *fresh += f;
}
MULTI(void, words_or, (uint64_t * dst, const uint64_t *src, uint64_t n, uint64_t *set, uint64_t *fresh), dst,
      src, n, set, fresh)

/* The edges of one word, which may be none. Four are written whether they exist or not: at the densities
 * where speed matters nearly every word has at most two runs, so the only branch is nearly always taken the
 * same way. */
ALWAYS_INLINE size_t put_edges(uint64_t *out, uint64_t e, uint64_t base)
{
    size_t n = (size_t)__builtin_popcountll(e);
    for (unsigned k = 0; k < 4; k++) {
        out[k] = base + (unsigned)__builtin_ctzll(e | (UINT64_C(1) << 63));
        e &= e - 1;
    }
    for (size_t k = 4; k < n; k++, e &= e - 1)
        out[k] = base + (unsigned)__builtin_ctzll(e);
    return n;
}

/* All edges of a block. Words without edges are dropped first, by counting instead of by a branch, which
 * would be right half of the time. */
ALWAYS_INLINE size_t put_block_body(uint64_t *out, const uint64_t *e, uint64_t base)
{
    uint64_t word[BLOCK_WORDS + 1];
    uint32_t where[BLOCK_WORDS + 1];
    unsigned left = 0;
    for (unsigned k = 0; k < BLOCK_WORDS; k++) {
        word[left] = e[k];
        where[left] = k;
        left += e[k] != 0;
    }
    size_t found = 0;
    for (unsigned k = 0; k < left; k++)
        found += put_edges(out + found, word[k], base + where[k] * 64);
    return found;
}

#if defined(__x86_64__)
/* The lowest bit of each word as a bit number, which is then cleared. */
#define TAKE_LOWEST(e, at)                                                                                   \
    ({                                                                                                       \
        __m512i _low = _mm512_and_si512(e, _mm512_sub_epi64(_mm512_setzero_si512(), e));                     \
        e = _mm512_andnot_si512(_low, e);                                                                    \
        _mm512_sub_epi64(at, _mm512_lzcnt_epi64(_low));                                                      \
    })
/* The first four edges of word i, and more where there are more. */
#define PUT_WORD(i, ab, cd)                                                                                  \
    do {                                                                                                     \
        _mm_storeu_si128((__m128i *)(out + found), _mm512_extracti64x2_epi64(ab, (i) / 2));                  \
        _mm_storeu_si128((__m128i *)(out + found + 2), _mm512_extracti64x2_epi64(cd, (i) / 2));              \
        size_t _n = (size_t)__builtin_popcountll(word[k + (i)]);                                             \
        if (_n > 4)                                                                                          \
            put_edges(out + found, word[k + (i)], base + (k + (i)) * 64);                                    \
        found += _n;                                                                                         \
    } while (0)

/* The same with eight words side by side, whose four lowest edges are found at once. Words without edges
 * stay: at this price dropping them costs more than they do. */
TARGET_V4 static size_t put_block_v4(uint64_t *out, const uint64_t *word, uint64_t base)
{
    size_t found = 0;
    /* 63 more, since leading zeros are counted. */
    __m512i at = _mm512_add_epi64(_mm512_set1_epi64((long long)base + 63),
                                  _mm512_set_epi64(7 * 64, 6 * 64, 5 * 64, 4 * 64, 3 * 64, 2 * 64, 64, 0));
    for (unsigned k = 0; k < BLOCK_WORDS; k += LINE_WORDS) {
        __m512i w = _mm512_loadu_si512(word + k);
        __m512i a = TAKE_LOWEST(w, at), b = TAKE_LOWEST(w, at), c = TAKE_LOWEST(w, at),
                d = TAKE_LOWEST(w, at);
        __m512i ab_even = _mm512_unpacklo_epi64(a, b), ab_odd = _mm512_unpackhi_epi64(a, b);
        __m512i cd_even = _mm512_unpacklo_epi64(c, d), cd_odd = _mm512_unpackhi_epi64(c, d);
        PUT_WORD(0, ab_even, cd_even);
        PUT_WORD(1, ab_odd, cd_odd);
        PUT_WORD(2, ab_even, cd_even);
        PUT_WORD(3, ab_odd, cd_odd);
        PUT_WORD(4, ab_even, cd_even);
        PUT_WORD(5, ab_odd, cd_odd);
        PUT_WORD(6, ab_even, cd_even);
        PUT_WORD(7, ab_odd, cd_odd);
        at = _mm512_add_epi64(at, _mm512_set1_epi64(LINE_WORDS * 64));
    }
    return found;
}
#else
#define put_block_v4 put_block_body
#endif

ALWAYS_INLINE size_t words_edges_body(const uint64_t *words, uint64_t from, uint64_t n, uint64_t *edges,
                                      size_t max, uint64_t *ret_next, int level)
{
    size_t found = 0;
    uint64_t i = from;
    /* A whole block may hold 64 edges per word, and put_edges writes up to 4 beyond. */
    for (; n - i >= BLOCK_WORDS && max - found >= BLOCK_WORDS * 64 + 4; i += BLOCK_WORDS) {
        const uint64_t *w = words + i;
        for (unsigned k = 0; k < BLOCK_WORDS; k += LINE_WORDS)
            __builtin_prefetch(w + AHEAD_WORDS + k);
        /* The word before comes from memory again, one word to the left: no carry chain between the lanes. */
        line_t e[BLOCK_WORDS / LINE_WORDS], any = {0};
        for (unsigned k = 0; k < BLOCK_WORDS / LINE_WORDS; k++) {
            line_t here = AS_LINE(w + k * LINE_WORDS), before = AS_LINE(w + k * LINE_WORDS - 1);
            e[k] = here ^ (here << 1 | before >> 63);
            any |= e[k];
        }
        if (!LINE_ANY(any))
            continue;
        const uint64_t *w_edges = (const uint64_t *)e;
        found += level >= 4 ? put_block_v4(edges + found, w_edges, i * 64)
                            : put_block_body(edges + found, w_edges, i * 64);
    }
    for (; i < n && max - found >= 64 + 4; i++) {
        /* Only at the end of the array or of the room. */
        if (n - i >= BLOCK_WORDS)
            break;
        found += put_edges(edges + found, words[i] ^ (words[i] << 1 | words[i - 1] >> 63), i * 64);
    }
    *ret_next = i;
    return found;
}
MULTI(size_t, words_edges,
      (const uint64_t *words, uint64_t from, uint64_t n, uint64_t *edges, size_t max, uint64_t *ret_next),
      words, from, n, edges, max, ret_next)

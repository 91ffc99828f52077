/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: a bitmap scan is bound by memory, so the work per cache line must hide behind its
 * load. The clean case ORs 256 bytes into one vector and takes one branch on it, which is always predicted
 * the same way until something is found. The dirty case avoids branches that depend on the data, since a
 * misprediction (15 to 20 cycles) costs more than a word.
 *
 * Every body is an always-inline function that is compiled three times through MULTI(). The compiler's ifunc
 * based target_clones would do the same, but its resolvers run before ThreadSanitizer is up.
 */
#include "base/words.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define TARGET_V3 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#define TARGET_V4                                                                                            \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,bmi,bmi2,popcnt,lzcnt")))
/* Each test is a load and a mask of what libgcc's start-up code found; cheap enough for every call. */
#define HAVE_V3 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
#define HAVE_V4 (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && HAVE_V3)
#define MULTI(type, name, params, args)                                                                      \
    TARGET_V4 static type name##_v4 params                                                                   \
    {                                                                                                        \
        return name##_body args;                                                                             \
    }                                                                                                        \
    TARGET_V3 static type name##_v3 params                                                                   \
    {                                                                                                        \
        return name##_body args;                                                                             \
    }                                                                                                        \
    type name params                                                                                         \
    {                                                                                                        \
        if (HAVE_V4)                                                                                         \
            return name##_v4 args;                                                                           \
        if (HAVE_V3)                                                                                         \
            return name##_v3 args;                                                                           \
        return name##_body args;                                                                             \
    }
#else
#define MULTI(type, name, params, args)                                                                      \
    type name params                                                                                         \
    {                                                                                                        \
        return name##_body args;                                                                             \
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

ALWAYS_INLINE uint64_t words_skip_clean_body(const uint64_t *words, uint64_t from, uint64_t n)
{
    return skip_body(words, from, n, 0);
}
MULTI(uint64_t, words_skip_clean, (const uint64_t *words, uint64_t from, uint64_t n), (words, from, n))

ALWAYS_INLINE uint64_t words_skip_full_body(const uint64_t *words, uint64_t from, uint64_t n)
{
    return skip_body(words, from, n, UINT64_MAX);
}
MULTI(uint64_t, words_skip_full, (const uint64_t *words, uint64_t from, uint64_t n), (words, from, n))

ALWAYS_INLINE uint64_t words_count_body(const uint64_t *words, uint64_t n)
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
MULTI(uint64_t, words_count, (const uint64_t *words, uint64_t n), (words, n))

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

ALWAYS_INLINE void words_or_body(uint64_t *dst, const uint64_t *src, uint64_t n, uint64_t *set,
                                 uint64_t *fresh)
{
    uint64_t s = 0, f = 0, i = 0;
    for (; n - i >= BLOCK_WORDS; i += BLOCK_WORDS) {
        const uint64_t *w = src + i;
        for (unsigned k = 0; k < BLOCK_WORDS; k += LINE_WORDS)
            __builtin_prefetch(w + AHEAD_WORDS + k);
        line_t any = AS_LINE(w) | AS_LINE(w + 8) | AS_LINE(w + 16) | AS_LINE(w + 24);
        if (!LINE_ANY(any))
            continue;
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
MULTI(void, words_or, (uint64_t * dst, const uint64_t *src, uint64_t n, uint64_t *set, uint64_t *fresh),
      (dst, src, n, set, fresh))

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

ALWAYS_INLINE size_t words_edges_body(const uint64_t *words, uint64_t from, uint64_t n, uint64_t *edges,
                                      size_t max, uint64_t *ret_next)
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
        /* Words without edges are dropped by counting instead of by a branch that is right half of the time.
         */
        uint64_t word[BLOCK_WORDS + 1];
        uint32_t where[BLOCK_WORDS + 1];
        unsigned left = 0;
        for (unsigned k = 0; k < BLOCK_WORDS; k++) {
            uint64_t x = ((const uint64_t *)e)[k];
            word[left] = x;
            where[left] = k;
            left += x != 0;
        }
        for (unsigned k = 0; k < left; k++)
            found += put_edges(edges + found, word[k], (i + where[k]) * 64);
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
      (words, from, n, edges, max, ret_next))

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of pages. Everything here is bound by memory: a zero page must be read whole, so the next page's
 * first lines are asked for while this one is tested (the hardware prefetcher stops at the page's end); a
 * page that is not zero nearly always says so in its first cache line.
 */
#include "memory/pages.h"
#include <string.h>
#include <xxhash.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> /* XXH3 for the processor at hand, twice as fast; the result is the same */
#endif

/* XXH3-64 of 4096 zero bytes, seed 0. The algorithm is frozen since xxHash 0.8.0; a unit test holds the
 * number. */
#define ZERO_PAGE_DIGEST UINT64_C(0x93d76fe148c689ba)

#define ALWAYS_INLINE static inline __attribute__((always_inline))
typedef uint64_t line_t __attribute__((vector_size(64), aligned(64), may_alias));
#define LINES_PER_PAGE (REGION_PAGE_SIZE / 64)
#define LINE_ANY(v)    (((v)[0] | (v)[1] | (v)[2] | (v)[3] | (v)[4] | (v)[5] | (v)[6] | (v)[7]) != 0)

/* How many pages ahead the first line of a page is asked for, while pages are not zero. */
#define AHEAD_PAGES 16u

ALWAYS_INLINE bool is_zero_body(const void *p)
{
    const line_t *l = p;
    line_t first = l[0];
    if (LINE_ANY(first))
        return false;
    for (unsigned k = 0; k < 8; k++)
        __builtin_prefetch((const char *)(l + k) + REGION_PAGE_SIZE);
    for (unsigned i = 0; i < LINES_PER_PAGE; i += 8) {
        line_t any =
            (l[i] | l[i + 1]) | (l[i + 2] | l[i + 3]) | (l[i + 4] | l[i + 5]) | (l[i + 6] | l[i + 7]);
        if (LINE_ANY(any))
            return false;
    }
    return true;
}

ALWAYS_INLINE uint64_t run_body(const uint8_t *map, uint64_t count, uint64_t pages_left, bool want_zero)
{
    uint64_t n = 0;
    for (; n < count; n++) {
        const uint8_t *p = map + (n << REGION_PAGE_SHIFT);
        if (!want_zero && n + AHEAD_PAGES < pages_left)
            __builtin_prefetch(p + AHEAD_PAGES * REGION_PAGE_SIZE);
        if (is_zero_body(p) != want_zero)
            break;
    }
    return n;
}

#if defined(__x86_64__)
#define TARGET_V3 __attribute__((target("avx2,bmi")))
#define TARGET_V4 __attribute__((target("avx512f,avx512bw,avx512vl,avx2,bmi")))
#define HAVE_V3   __builtin_cpu_supports("avx2")
#define HAVE_V4   (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
TARGET_V4 static bool is_zero_v4(const void *p)
{
    return is_zero_body(p);
}
TARGET_V3 static bool is_zero_v3(const void *p)
{
    return is_zero_body(p);
}
TARGET_V4 static uint64_t run_v4(const uint8_t *map, uint64_t count, uint64_t left, bool want_zero)
{
    return run_body(map, count, left, want_zero);
}
TARGET_V3 static uint64_t run_v3(const uint8_t *map, uint64_t count, uint64_t left, bool want_zero)
{
    return run_body(map, count, left, want_zero);
}
#else
#define HAVE_V3    false
#define HAVE_V4    false
#define is_zero_v3 is_zero_body
#define is_zero_v4 is_zero_body
#define run_v3     run_body
#define run_v4     run_body
#endif

bool page_is_zero(const void *p)
{
    return HAVE_V4 ? is_zero_v4(p) : HAVE_V3 ? is_zero_v3(p) : is_zero_body(p);
}

uint64_t pages_run(const struct region *r, uint64_t first, uint64_t count, bool want_zero)
{
    if (first >= r->npages)
        return 0;
    count = MIN(count, r->npages - first);
    const uint8_t *map = r->map + (first << REGION_PAGE_SHIFT);
    uint64_t left = r->npages - first;
    return HAVE_V4   ? run_v4(map, count, left, want_zero)
           : HAVE_V3 ? run_v3(map, count, left, want_zero)
                     : run_body(map, count, left, want_zero);
}

uint64_t pages_zero(struct region *r, uint64_t first, uint64_t count)
{
    if (first >= r->npages)
        return 0;
    uint64_t written = 0, end = first + MIN(count, r->npages - first), at, n;
    for (uint64_t from = first; region_next_allocated(r, from, end, &at, &n); from = at + n) {
        for (uint64_t i = 0; i < n;) {
            i += pages_run(r, at + i, n - i, true);
            if (i == n)
                break;
            memset(r->map + ((at + i) << REGION_PAGE_SHIFT), 0, REGION_PAGE_SIZE);
            written++;
            i++;
        }
    }
    return written;
}

void pages_digest(const struct region *r, uint64_t first, uint64_t count, uint64_t *digests)
{
    if (first >= r->npages)
        return;
    uint64_t end = first + MIN(count, r->npages - first), at, n, done = first;
    while (region_next_allocated(r, done, end, &at, &n)) {
        for (; done < at; done++)
            digests[done - first] = ZERO_PAGE_DIGEST;
        for (; done < at + n; done++)
            digests[done - first] = XXH3_64bits(r->map + (done << REGION_PAGE_SHIFT), REGION_PAGE_SIZE);
    }
    for (; done < end; done++)
        digests[done - first] = ZERO_PAGE_DIGEST;
}

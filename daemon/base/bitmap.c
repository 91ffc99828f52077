/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bitmaps on top of the loops of words.c: memory, ends that are not on a word, atomics. Any thread, within
 * the limits that bitmap.h sets. It always holds that bits beyond nbits in the last word are zero.
 */
#include "base/bitmap.h"
#include "base/words.h"
#include <string.h>
#include <sys/mman.h>

/* From here on bitmaps are mapped: below, a huge page would cost more than it saves. */
#define MAPPED_BYTES (UINT64_C(2) << 20)
#define HUGE_BYTES   (UINT64_C(2) << 20)

static bool is_mapped(const struct bitmap *b)
{
    return b->nwords * 8 >= MAPPED_BYTES;
}

static uint64_t mapped_size(const struct bitmap *b)
{
    return align_up(b->nwords * 8, HUGE_BYTES);
}

/* Whole huge pages at a huge page's boundary. Kernels before 6.7 do not align by themselves. */
static void *map_huge(uint64_t size)
{
    uint8_t *p = mmap(NULL, size + HUGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    uint8_t *start = (uint8_t *)align_up((uintptr_t)p, HUGE_BYTES);
    if (start > p)
        munmap(p, (size_t)(start - p));
    size_t behind = (size_t)(p + HUGE_BYTES - start);
    if (behind)
        munmap(start + size, behind);
    /* A kernel without huge pages refuses; then 4 KiB pages have to do. */
    (void)madvise(start, size, MADV_HUGEPAGE);
    (void)madvise(start, size, MADV_DONTDUMP);
    return start;
}

int bitmap_new(struct bitmap **ret, uint64_t nbits)
{
    if (nbits == 0)
        return -EINVAL;
    if (nbits > (UINT64_C(1) << 46)) /* 8 TiB of bits: no address space for it */
        return -ENOMEM;
    struct bitmap *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->nbits = nbits;
    b->nwords = div_round_up(nbits, BITMAP_WORD_BITS);
    b->words = is_mapped(b) ? map_huge(mapped_size(b)) : calloc(b->nwords, 8);
    if (!b->words) {
        free(b);
        return -ENOMEM;
    }
    *ret = b;
    return 0;
}

struct bitmap *bitmap_free(struct bitmap *b)
{
    if (!b)
        return NULL;
    if (is_mapped(b))
        munmap(b->words, mapped_size(b));
    else
        free(b->words);
    free(b);
    return NULL;
}

/* The bits from `bit` on, and the bits before `bit`, in the word that holds it. */
static uint64_t mask_from(uint64_t bit)
{
    return UINT64_MAX << (bit % 64);
}

/* `end` is exclusive, and the word is the one that holds end - 1. */
static uint64_t mask_before(uint64_t end)
{
    return UINT64_MAX >> ((64 - end % 64) % 64);
}

/* False when nothing is left of the range. */
static bool clip(const struct bitmap *b, uint64_t first, uint64_t *count)
{
    if (first >= b->nbits || *count == 0)
        return false;
    *count = MIN(*count, b->nbits - first);
    return true;
}

/* One word, counted. */
static void or_word(uint64_t *dst, uint64_t w, uint64_t *fresh)
{
    *fresh += (uint64_t)__builtin_popcountll(w & ~*dst);
    *dst |= w;
}

void bitmap_set_range(struct bitmap *b, uint64_t first, uint64_t count)
{
    if (!clip(b, first, &count))
        return;
    uint64_t end = first + count, i = first / 64, last = (end - 1) / 64;
    if (i == last) {
        b->words[i] |= mask_from(first) & mask_before(end);
        return;
    }
    b->words[i] |= mask_from(first);
    memset(b->words + i + 1, 0xff, (last - i - 1) * 8);
    b->words[last] |= mask_before(end);
}

uint64_t bitmap_set_range_counted(struct bitmap *b, uint64_t first, uint64_t count)
{
    if (!clip(b, first, &count))
        return 0;
    uint64_t fresh = 0, end = first + count, i = first / 64, last = (end - 1) / 64;
    if (i == last) {
        or_word(b->words + i, mask_from(first) & mask_before(end), &fresh);
        return fresh;
    }
    or_word(b->words + i, mask_from(first), &fresh);
    or_word(b->words + last, mask_before(end), &fresh);
    uint64_t n = last - i - 1;
    fresh += n * 64 - words_count(b->words + i + 1, n);
    memset(b->words + i + 1, 0xff, n * 8);
    return fresh;
}

void bitmap_clear_range(struct bitmap *b, uint64_t first, uint64_t count)
{
    if (!clip(b, first, &count))
        return;
    uint64_t end = first + count, i = first / 64, last = (end - 1) / 64;
    if (i == last) {
        b->words[i] &= ~(mask_from(first) & mask_before(end));
        return;
    }
    b->words[i] &= ~mask_from(first);
    memset(b->words + i + 1, 0, (last - i - 1) * 8);
    b->words[last] &= ~mask_before(end);
}

void bitmap_clear_all(struct bitmap *b)
{
    if (is_mapped(b) && madvise(b->words, mapped_size(b), MADV_DONTNEED) == 0)
        return;
    memset(b->words, 0, b->nwords * 8);
}

bool bitmap_test(const struct bitmap *b, uint64_t bit)
{
    return bit < b->nbits && (b->words[bit / 64] >> (bit % 64) & 1);
}

uint64_t bitmap_count(const struct bitmap *b)
{
    return words_count(b->words, b->nwords);
}

bool bitmap_is_empty(const struct bitmap *b)
{
    return words_skip_clean(b->words, 0, b->nwords) == b->nwords;
}

/* Each word of src lands in two words of dst. */
static void or_shifted(uint64_t *dst, unsigned shift, const uint64_t *src, uint64_t n, uint64_t *set,
                       uint64_t *fresh)
{
    for (uint64_t i = words_skip_clean(src, 0, n); i < n; i = words_skip_clean(src, i + 1, n)) {
        uint64_t w = src[i];
        *set += (uint64_t)__builtin_popcountll(w);
        or_word(dst + i, w << shift, fresh);
        if (w >> (64 - shift)) /* else dst may end here */
            or_word(dst + i + 1, w >> (64 - shift), fresh);
    }
}

void bitmap_or_words(struct bitmap *b, uint64_t first, const uint64_t *src, uint64_t nbits, uint64_t *ret_set,
                     uint64_t *ret_new)
{
    uint64_t set = 0, fresh = 0;
    if (clip(b, first, &nbits)) {
        uint64_t whole = nbits / 64, *dst = b->words + first / 64;
        unsigned shift = first % 64;
        if (shift)
            or_shifted(dst, shift, src, whole, &set, &fresh);
        else
            words_or(dst, src, whole, &set, &fresh);
        if (nbits % 64) {
            uint64_t w = src[whole] & mask_before(nbits);
            set += (uint64_t)__builtin_popcountll(w);
            if (w)
                or_word(dst + whole, w << shift, &fresh);
            if (shift && w >> (64 - shift))
                or_word(dst + whole + 1, w >> (64 - shift), &fresh);
        }
    }
    if (ret_set)
        *ret_set = set;
    if (ret_new)
        *ret_new = fresh;
}

/*
 * Atomics. Whoever sets a bit has written the page before; whoever takes it reads the page afterwards. "The
 * bit is set already, so I need not set it" would be wrong here: the test could see the old bit while the
 * page's bytes still wait in the store buffer, and the taker between the two would send the old page. So
 * setting is always a locked instruction or, where a whole word is filled, a store that releases.
 */
void bitmap_set_range_atomic(struct bitmap *b, uint64_t first, uint64_t count)
{
    if (!clip(b, first, &count))
        return;
    uint64_t end = first + count, i = first / 64, last = (end - 1) / 64;
    if (i == last) {
        __atomic_fetch_or(&b->words[i], mask_from(first) & mask_before(end), __ATOMIC_ACQ_REL);
        return;
    }
    __atomic_fetch_or(&b->words[i], mask_from(first), __ATOMIC_ACQ_REL);
    for (i++; i < last; i++)
        __atomic_store_n(&b->words[i], UINT64_MAX, __ATOMIC_RELEASE);
    __atomic_fetch_or(&b->words[last], mask_before(end), __ATOMIC_ACQ_REL);
}

/* A word that is set beside this scan may be missed by it: it is found by the next. */
static uint64_t skip_clean_shared(const uint64_t *words, uint64_t from, uint64_t n)
{
#if defined(__SANITIZE_THREAD__)
    /* The sanitizer takes the vector loads for races, although they do no harm. */
    while (from < n && !__atomic_load_n(&words[from], __ATOMIC_RELAXED))
        from++;
    return from;
#else
    return words_skip_clean(words, from, n);
#endif
}

uint64_t bitmap_take_words_atomic(uint64_t *dst, uint64_t *src, uint64_t n)
{
    uint64_t taken = 0, at = 0;
    for (uint64_t i = skip_clean_shared(src, 0, n); i < n; i = skip_clean_shared(src, i + 1, n)) {
        memset(dst + at, 0, (i - at) * 8);
        dst[i] = __atomic_exchange_n(&src[i], 0, __ATOMIC_ACQ_REL);
        at = i + 1;
        taken++;
    }
    memset(dst + at, 0, (n - at) * 8);
    return taken;
}

void bitmap_take_atomic(struct bitmap *dst, struct bitmap *src, uint64_t *ret_set, uint64_t *ret_new)
{
    uint64_t set = 0, fresh = 0, n = MIN(dst->nwords, src->nwords);
    for (uint64_t i = skip_clean_shared(src->words, 0, n); i < n;
         i = skip_clean_shared(src->words, i + 1, n)) {
        uint64_t w = __atomic_exchange_n(&src->words[i], 0, __ATOMIC_ACQ_REL);
        set += (uint64_t)__builtin_popcountll(w);
        or_word(dst->words + i, w, &fresh);
    }
    if (ret_set)
        *ret_set = set;
    if (ret_new)
        *ret_new = fresh;
}

/* The first bit at or after `from` and before `end` that is set (or clear, for want = false); `end` when
 * there is none. */
static uint64_t next_bit(const struct bitmap *b, uint64_t from, uint64_t end, bool want)
{
    uint64_t flip = want ? 0 : UINT64_MAX, n = div_round_up(end, 64), i = from / 64;
    uint64_t w = (b->words[i] ^ flip) & mask_from(from);
    if (!w) {
        i = want ? words_skip_clean(b->words, i + 1, n) : words_skip_full(b->words, i + 1, n);
        if (i >= n)
            return end;
        w = b->words[i] ^ flip;
    }
    return MIN(i * 64 + (unsigned)__builtin_ctzll(w), end);
}

bool bitmap_next_run(const struct bitmap *b, uint64_t from, uint64_t end, uint64_t max_count,
                     uint64_t *ret_first, uint64_t *ret_count)
{
    end = MIN(end, b->nbits);
    if (from >= end || max_count == 0)
        return false;
    uint64_t first = next_bit(b, from, end, true);
    if (first >= end)
        return false;
    uint64_t stop = max_count < end - first ? first + max_count : end;
    *ret_first = first;
    *ret_count = next_bit(b, first, stop, false) - first;
    return true;
}

static size_t word_edges(uint64_t w, uint64_t before, uint64_t base, uint64_t *edges)
{
    size_t n = 0;
    for (uint64_t e = w ^ (w << 1 | before >> 63); e; e &= e - 1)
        edges[n++] = base + (unsigned)__builtin_ctzll(e);
    return n;
}

size_t bitmap_runs(const struct bitmap *b, uint64_t *pos, uint64_t end, struct bitmap_run *runs, size_t max)
{
    end = MIN(end, b->nbits);
    if (*pos >= end || max < BITMAP_RUNS_MIN) {
        *pos = MAX(*pos, end);
        return 0;
    }
    /* A run is the two edges around it, so the runs are written as a row of edges. */
    _Static_assert(sizeof *runs == 2 * sizeof(uint64_t), "a run is a pair of edges");
    uint64_t *edges = &runs[0].first;
    size_t room = 2 * max;
    uint64_t i = *pos / 64, last = (end - 1) / 64;
    uint64_t w = b->words[i] & mask_from(*pos);
    size_t n = word_edges(i == last ? w & mask_before(end) : w, 0, i * 64, edges);
    if (i < last) {
        n += words_edges(b->words, i + 1, last, edges + n, room - n, &i);
        if (i < last || room - n < 64 + 1) {
            /* Full. A run that is still open belongs to the next call. */
            *pos = n % 2 ? edges[n - 1] : i * 64;
            return n / 2;
        }
        n += word_edges(b->words[last] & mask_before(end), b->words[last - 1], last * 64, edges + n);
    }
    if (n % 2)
        edges[n++] = end;
    *pos = end;
    return n / 2;
}

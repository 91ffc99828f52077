/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inner loops over bitmaps and pages against a plain read of the same memory. Each figure is the median
 * of runs that alternate with those of what it is measured against. One JSON object per line: case, figure,
 * unit, ratio (higher is better), against.
 *
 * bench-memory [RUNS [MIB]]   RUNS: 15 by default; MIB: size of the memory for page scans, 1024 by default
 */
#include "memory/pages.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BITMAP_BITS  (UINT64_C(1) << 28) /* 1 TiB of 4 KiB pages: 32 MiB */
#define BITMAP_BYTES (BITMAP_BITS / 8)
#define RUNS_MAX     99

static uint64_t now_nsec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* What a program does that only reads: a sum, vectorised as far as the processor goes. */
#define SUM                                                                                                  \
    {                                                                                                        \
        uint64_t sum = 0;                                                                                    \
        for (uint64_t i = 0; i < n; i++)                                                                     \
            sum += words[i];                                                                                 \
        return sum;                                                                                          \
    }
__attribute__((optimize("O3"), noinline)) static uint64_t sum_plain(const uint64_t *words, uint64_t n) SUM
#if defined(__x86_64__)
    __attribute__((optimize("O3"), noinline, target("avx2"))) static uint64_t
    sum_avx2(const uint64_t *words, uint64_t n) SUM
#endif

    static volatile uint64_t sink;

static void plain_read(const void *p, uint64_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        sink = sum_avx2(p, bytes / 8);
        return;
    }
#endif
    sink = sum_plain(p, bytes / 8);
}

struct bench {
    struct bitmap *clean, *dirty, *target, *source[3];
    struct region *zero, *full;
    uint64_t memory_pages, expected_runs;
};

static void read_clean(struct bench *b)
{
    plain_read(b->clean->words, BITMAP_BYTES);
}

static void scan_clean(struct bench *b)
{
    uint64_t first, count;
    sink = bitmap_next_run(b->clean, 0, BITMAP_BITS, UINT64_MAX, &first, &count);
}

static void count_clean(struct bench *b)
{
    sink = bitmap_count(b->clean);
}

static void runs_dirty(struct bench *b)
{
    static struct bitmap_run runs[4096];
    uint64_t pos = 0, n = 0;
    while (pos < BITMAP_BITS)
        n += bitmap_runs(b->dirty, &pos, BITMAP_BITS, runs, ELEMENTS(runs));
    if (n != b->expected_runs) {
        fprintf(stderr, "%llu runs instead of %llu\n", (unsigned long long)n,
                (unsigned long long)b->expected_runs);
        exit(1);
    }
}

static void next_run_dirty(struct bench *b)
{
    uint64_t n = 0;
    bitmap_for_each_run (b->dirty, first, count)
        n++;
    sink = n;
}

static void read_three(struct bench *b)
{
    plain_read(b->clean->words, BITMAP_BYTES);
    plain_read(b->source[0]->words, BITMAP_BYTES);
    plain_read(b->source[1]->words, BITMAP_BYTES);
}

static void merge_clean(struct bench *b)
{
    bitmap_or_words(b->target, 0, b->clean->words, BITMAP_BITS, NULL, NULL);
    bitmap_or_words(b->target, 0, b->source[0]->words, BITMAP_BITS, NULL, NULL);
    bitmap_or_words(b->target, 0, b->source[1]->words, BITMAP_BITS, NULL, NULL);
}

static void read_three_dirty(struct bench *b)
{
    for (int i = 0; i < 3; i++)
        plain_read(b->dirty->words, BITMAP_BYTES);
}

static void merge_dirty(struct bench *b)
{
    for (int i = 0; i < 3; i++)
        bitmap_or_words(b->target, 0, b->dirty->words, BITMAP_BITS, NULL, NULL);
}

static void read_zero(struct bench *b)
{
    plain_read(b->zero->map, b->zero->size_bytes);
}

static void scan_zero(struct bench *b)
{
    if (pages_run(b->zero, 0, b->memory_pages, true) != b->memory_pages)
        exit(1);
}

static void read_full(struct bench *b)
{
    plain_read(b->full->map, b->full->size_bytes);
}

static void scan_full(struct bench *b)
{
    if (pages_run(b->full, 0, b->memory_pages, false) != b->memory_pages)
        exit(1);
}

static void digest_full(struct bench *b)
{
    static uint64_t digests[65536];
    for (uint64_t at = 0; at < b->memory_pages; at += ELEMENTS(digests))
        pages_digest(b->full, at, MIN(b->memory_pages - at, (uint64_t)ELEMENTS(digests)), digests);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double median(uint64_t *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, compare);
    return (double)v[n / 2];
}

/* Both move `bytes`; the ratio is that of their speeds. */
static void measure(struct bench *b, int runs, const char *name, void (*what)(struct bench *), uint64_t bytes,
                    const char *against, void (*other)(struct bench *), double least)
{
    uint64_t mine[RUNS_MAX], theirs[RUNS_MAX];
    what(b);
    other(b);
    for (int i = 0; i < runs; i++) {
        uint64_t t0 = now_nsec();
        other(b);
        uint64_t t1 = now_nsec();
        what(b);
        theirs[i] = t1 - t0;
        mine[i] = now_nsec() - t1;
    }
    double a = median(mine, runs), o = median(theirs, runs);
    printf("{\"case\": \"%s\", \"figure\": %.2f, \"unit\": \"GiB/s\", \"ratio\": %.3f, \"against\": \"%s\"",
           name, (double)bytes / 1073.741824e6 / a * 1e9, o / a, against);
    if (least > 0)
        printf(", \"least\": %.2f", least);
    puts("}");
    fflush(stdout);
}

static struct bitmap *new_touched(void)
{
    struct bitmap *b = NULL;
    if (bitmap_new(&b, BITMAP_BITS) < 0)
        exit(1);
    memset(b->words, 0xff, BITMAP_BYTES); /* real memory, not the kernel's one zero page */
    bitmap_clear_range(b, 0, BITMAP_BITS);
    return b;
}

static struct region *new_region(const char *name, uint64_t bytes, bool fill)
{
    struct region *r = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    if (region_new_made(&r, name, bytes, 0, -1, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        exit(1);
    }
    memset(r->map, fill ? 0x5a : 0, bytes);
    return r;
}

static void dirty_one_percent(struct bench *b)
{
    uint64_t x = 88172645463325252u, before = 0;
    for (uint64_t i = 0; i < BITMAP_BITS / 100; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        bitmap_set_range(b->dirty, x % BITMAP_BITS, 1);
    }
    for (uint64_t i = 0; i < BITMAP_BITS; i++) {
        uint64_t bit = bitmap_test(b->dirty, i);
        b->expected_runs += bit && !before;
        before = bit;
    }
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    argc -= quick, argv += quick;
    int runs = argc > 1 ? atoi(argv[1]) : quick ? 5 : 15;
    uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 0) : quick ? 256 : 1024;
    if (runs < 1 || runs > RUNS_MAX || mib < 1 || mib > 1 << 20) {
        fprintf(stderr, "usage: bench-memory [--quick] [RUNS [MIB]]\n");
        return 2;
    }
    struct bench b = {.memory_pages = mib << 8};
    b.clean = new_touched();
    b.dirty = new_touched();
    b.target = new_touched();
    for (int i = 0; i < 2; i++)
        b.source[i] = new_touched();
    dirty_one_percent(&b);
    const char *plain = "plain read of the same memory";
    measure(&b, runs, "bitmap-clean-scan", scan_clean, BITMAP_BYTES, plain, read_clean, 0.8);
    measure(&b, runs, "bitmap-count", count_clean, BITMAP_BYTES, plain, read_clean, 0);
    measure(&b, runs, "bitmap-merge-3", merge_clean, 3 * BITMAP_BYTES, plain, read_three, 0.6);
    measure(&b, runs, "bitmap-merge-3-1pct-dirty", merge_dirty, 3 * BITMAP_BYTES, plain, read_three_dirty, 0);
    measure(&b, runs, "bitmap-runs-1pct-dirty", runs_dirty, BITMAP_BYTES, "clean scan", scan_clean, 0.2);
    measure(&b, runs, "bitmap-next-run-1pct-dirty", next_run_dirty, BITMAP_BYTES, "clean scan", scan_clean,
            0);
    bitmap_free(b.clean);
    bitmap_free(b.dirty);
    bitmap_free(b.target);
    for (int i = 0; i < 2; i++)
        bitmap_free(b.source[i]);

    b.zero = new_region("zero", mib << 20, false);
    measure(&b, runs, "zero-scan", scan_zero, mib << 20, plain, read_zero, 0.8);
    region_unref(b.zero);
    b.full = new_region("full", mib << 20, true);
    measure(&b, runs, "nonzero-scan", scan_full, mib << 20, plain, read_full, 0);
    measure(&b, MIN(runs, 5), "digest", digest_full, mib << 20, plain, read_full, 0);
    region_unref(b.full);
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The time in which one core reads so many MiB of its own memory, once: what a round over clean bitmaps is measured
 * against. The memory is cold as far as the size of the caches allows, as bitmaps are between two rounds.
 */
#include "bench.h"

#define FLUSH_BYTES (64u << 20)
#define RUNS        9

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint64_t read_all(const uint64_t *p, size_t words)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i + 4 <= words; i += 4) {
        a |= p[i];
        b |= p[i + 1];
        c |= p[i + 2];
        d |= p[i + 3];
    }
    return a | b | c | d;
}

int main(int argc, char **argv)
{
    size_t bytes = (size_t)(argc == 2 ? atoi(argv[1]) : 0) << 20;
    double seconds[RUNS];
    if (!bytes) {
        fprintf(stderr, "usage: plain-read MIB\n");
        return 2;
    }
    uint64_t *p = aligned_alloc(2u << 20, bytes), *other = malloc(FLUSH_BYTES), seen = 0;
    bench_check(p && other, "memory");
    madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 0, bytes);
    for (int i = 0; i < RUNS; i++) {
        memset(other, i, FLUSH_BYTES);
        double start = bench_now();
        seen |= read_all(p, bytes / sizeof *p);
        seconds[i] = bench_now() - start;
    }
    qsort(seconds, RUNS, sizeof seconds[0], by_value);
    printf("{\"seconds\": %.6f}\n", seconds[RUNS / 2]);
    return seen != 0;
}

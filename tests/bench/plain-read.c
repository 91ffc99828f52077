/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The time in which one core reads so many MiB of its own memory, once: what a round over clean bitmaps is
 * measured against. The memory is cold as far as the size of the caches allows, as bitmaps are between two
 * rounds. With "socket" another process sends them over a UNIX socket, as a vfio-user device does.
 */
#include "bench.h"

#define FLUSH_BYTES (64u << 20)
#define PIECE_BYTES (256u << 10)
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

/* Whoever asks with a byte gets all of it. */
static void serve(int fd, const uint64_t *p, size_t bytes)
{
    char asked;
    while (read(fd, &asked, 1) == 1)
        for (size_t done = 0; done < bytes;) {
            ssize_t n = write(fd, (const char *)p + done, bytes - done);
            bench_check(n > 0, "write");
            done += (size_t)n;
        }
    exit(0);
}

static uint64_t receive_all(int fd, uint64_t *piece, size_t bytes)
{
    uint64_t seen = 0;
    bench_check(write(fd, "", 1) == 1, "write");
    for (size_t done = 0; done < bytes;) {
        size_t part = 0, want = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        while (part < want) {
            ssize_t n = read(fd, (char *)piece + part, want - part);
            bench_check(n > 0, "read");
            part += (size_t)n;
        }
        seen |= read_all(piece, part / sizeof *piece);
        done += part;
    }
    return seen;
}

int main(int argc, char **argv)
{
    size_t bytes = (size_t)(argc > 1 ? atoi(argv[1]) : 0) << 20;
    int by_socket = argc == 3 && strcmp(argv[2], "socket") == 0, pair[2] = {-1, -1};
    double seconds[RUNS];
    if (!bytes || (argc > 2 && !by_socket)) {
        fprintf(stderr, "usage: plain-read MIB [socket]\n");
        return 2;
    }
    uint64_t *p = aligned_alloc(2u << 20, bytes), *other = malloc(FLUSH_BYTES), seen = 0;
    bench_check(p && other, "memory");
    madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 0, bytes);
    if (by_socket) {
        bench_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
        pid_t child = fork();
        bench_check(child >= 0, "fork");
        close(pair[child != 0]);
        if (child == 0)
            serve(pair[1], p, bytes);
    }
    for (int i = 0; i < RUNS; i++) {
        memset(other, i, FLUSH_BYTES);
        double start = bench_now();
        seen |= by_socket ? receive_all(pair[0], p, bytes) : read_all(p, bytes / sizeof *p);
        seconds[i] = bench_now() - start;
    }
    qsort(seconds, RUNS, sizeof seconds[0], by_value);
    printf("{\"seconds\": %.6f}\n", seconds[RUNS / 2]);
    return seen != 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The limit that bulk transfer is measured against: memory of one file to another over loopback TCP, by
 * nothing but sendfile (or write from a mapping) in pieces of 1 MiB, and recv into a mapping. Each of N
 * connections, with a thread on each side, carries 1/N. With "sendfile-fresh" the receiver's pages are not
 * there before they are received, and each is a page fault in recv; with "sendfile-populated-fresh" the same
 * thread has them made by a call for each 2 MiB, as migd does, and with "sendfile-ahead-fresh" a second
 * thread beside it does so, up to 64 MiB ahead of what arrives.
 */
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#define PIECE (1u << 20)
#define CHUNK (2u << 20)
#define AHEAD (64u << 20)
#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

struct part {
    pthread_t thread;
    int socket, file, from_memory;
    uint8_t *map;
    uint64_t offset, size;
    int populate; /* before each chunk */
    _Atomic uint64_t arrived;
};

static void *send_part(void *p)
{
    struct part *t = p;
    uint64_t end = t->offset + t->size;
    for (uint64_t at = t->offset; at < end;) {
        size_t piece = end - at < PIECE ? end - at : PIECE;
        off_t offset = (off_t)at;
        ssize_t n = t->from_memory ? write(t->socket, t->map + at, piece)
                                   : sendfile(t->socket, t->file, &offset, piece);
        bench_check(n > 0, "send");
        at += (uint64_t)n;
    }
    return NULL;
}

static void populate(struct part *t, uint64_t at)
{
    uint64_t left = t->offset + t->size - at;
    bench_check(madvise(t->map + at, left < CHUNK ? left : CHUNK, MADV_POPULATE_WRITE) == 0, "populate");
}

static void *populate_ahead(void *p)
{
    struct part *t = p;
    for (uint64_t at = t->offset; at < t->offset + t->size; at += CHUNK) {
        while (at > t->arrived + AHEAD)
            usleep(200);
        populate(t, at);
    }
    return NULL;
}

static void *recv_part(void *p)
{
    struct part *t = p;
    uint64_t end = t->offset + t->size, chunks = 0;
    for (uint64_t at = t->offset; at < end;) {
        if (t->populate && (at - t->offset) / CHUNK >= chunks) {
            populate(t, t->offset + chunks * CHUNK);
            chunks++;
        }
        ssize_t n = recv(t->socket, t->map + at, end - at < PIECE ? end - at : PIECE, 0);
        bench_check(n > 0, "recv");
        at += (uint64_t)n;
        t->arrived = at;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int connections, source, dest,
        from_memory = argc > 1 && strcmp(argv[1], "write") == 0,
        populated = argc > 1 && strcmp(argv[1], "sendfile-populated-fresh") == 0,
        ahead = argc > 1 && strcmp(argv[1], "sendfile-ahead-fresh") == 0,
        fresh = ahead || populated || (argc > 1 && strcmp(argv[1], "sendfile-fresh") == 0);
    struct bench_link link;
    struct part parts[BENCH_CONNECTIONS_MAX];
    pid_t child;
    bench_arguments(argc, argv, 2, &connections, &source, &dest);
    uint64_t size = bench_size(source), each = size / (uint64_t)connections / 4096 * 4096;
    int sender = bench_split(&link, connections, &child);
    uint8_t *map = sender ? (from_memory ? bench_map(source, 1) : NULL) : bench_map(dest, !fresh);
    for (int i = 0; i < connections; i++)
        parts[i] = (struct part){.socket = link.data[i],
                                 .file = source,
                                 .from_memory = from_memory,
                                 .map = map,
                                 .offset = each * (uint64_t)i,
                                 .populate = populated,
                                 .arrived = each * (uint64_t)i,
                                 .size = i == connections - 1 ? size - each * (uint64_t)i : each};
    if (sender)
        bench_hear(&link); /* the receiver has its memory */
    else
        bench_tell(&link, 0);
    double start = bench_now(), cpu = bench_cpu();
    for (int i = 0; i < connections; i++)
        bench_check(pthread_create(&parts[i].thread, NULL, sender ? send_part : recv_part, &parts[i]) == 0,
                    "thread");
    pthread_t beside[BENCH_CONNECTIONS_MAX];
    for (int i = 0; i < connections && !sender && ahead; i++)
        bench_check(pthread_create(&beside[i], NULL, populate_ahead, &parts[i]) == 0, "thread");
    for (int i = 0; i < connections; i++)
        pthread_join(parts[i].thread, NULL);
    for (int i = 0; i < connections && !sender && ahead; i++)
        pthread_join(beside[i], NULL);
    cpu = bench_cpu() - cpu;
    if (!sender) {
        bench_tell(&link, cpu);
        return 0;
    }
    double receiver_cpu = bench_hear(&link);
    return bench_report(size, bench_now() - start, cpu, receiver_cpu, receiver_cpu, child);
}

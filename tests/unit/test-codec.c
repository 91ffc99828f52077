/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packing and unpacking, and the choice of a codec against a simulated link. */
#include "outgoing/codec-choice.h"
#include "test-random.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define SIZE ((size_t)256 << 10)
static uint8_t src[SIZE], packed[CODEC_MAX_BYTES], back[SIZE + 64];

static void fill(unsigned kind, struct rnd *seed)
{
    for (size_t i = 0; i < SIZE; i++)
        src[i] = kind == 0   ? (uint8_t)(i / 100)
                 : kind == 1 ? (uint8_t) "migration of a device "[i % 22]
                             : (uint8_t)rnd_next(seed);
}

static void test_there_and_back(void **state)
{
    _cleanup_(codec_state_freep) struct codec_state *s = NULL;
    struct rnd seed = {1};
    assert_int_equal(codec_state_new(&s), 0);
    for (unsigned kind = 0; kind < 3; kind++)
        for (int c = CODEC_NONE + 1; c < CODEC_MAX; c++)
            for (size_t size = 4096; size <= SIZE; size *= 4) {
                size_t n;
                fill(kind, &seed);
                int r = codec_pack(s, (enum codec)c, src, size, packed, size, &n);
                if (kind == 2) {
                    assert_int_equal(r, -E2BIG); /* noise does not get smaller */
                    continue;
                }
                assert_int_equal(r, 0);
                assert_true(n < size / 8);
                memset(back, 0xee, sizeof back);
                assert_int_equal(codec_unpack(s, (enum codec)c, packed, n, back, size), 0);
                assert_memory_equal(back, src, size);
                assert_int_equal(back[size], 0xee);
                /* Another size than the one that was packed. */
                assert_int_equal(codec_unpack(s, (enum codec)c, packed, n, back, size - 1), -EBADMSG);
                if (size < SIZE)
                    assert_int_equal(codec_unpack(s, (enum codec)c, packed, n, back, size + 1), -EBADMSG);
                assert_int_equal(codec_unpack(s, (enum codec)c, packed, n - 1, back, size), -EBADMSG);
                assert_int_equal(codec_pack(s, (enum codec)c, src, size, packed, 16, &n), -E2BIG);
            }
}

static void test_limits(void **state)
{
    _cleanup_(codec_state_freep) struct codec_state *s = NULL;
    size_t n;
    enum codec c;
    assert_int_equal(codec_state_new(&s), 0);
    assert_int_equal(codec_pack(s, CODEC_LZ4, src, 0, packed, 10, &n), -EINVAL);
    assert_int_equal(codec_pack(s, CODEC_ZSTD, src, CODEC_MAX_BYTES + 1, packed, 10, &n), -EINVAL);
    assert_int_equal(codec_pack(s, CODEC_NONE, src, 4096, packed, 4096, &n), -EINVAL);
    assert_int_equal(codec_unpack(s, CODEC_NONE, src, 4096, back, 4096), -EBADMSG);
    assert_int_equal(codec_unpack(s, CODEC_LZ4, src, 0, back, 4096), -EBADMSG);
    assert_int_equal(codec_unpack(s, CODEC_ZSTD, src, CODEC_MAX_BYTES + 1, back, 4096), -EBADMSG);
    assert_int_equal(codec_from_string("zstd", &c), 0);
    assert_int_equal(c, CODEC_ZSTD);
    assert_int_equal(codec_from_string("gzip", &c), -EINVAL);
}

/* Noise, and good pieces with a few bytes changed: no answer but a failure or the right size, and nothing
 * beyond it is touched (the sanitizers look on). */
static void test_noise(void **state)
{
    _cleanup_(codec_state_freep) struct codec_state *s = NULL;
    struct rnd seed = {7};
    assert_int_equal(codec_state_new(&s), 0);
    for (unsigned i = 0; i < 4000; i++) {
        enum codec c = i % 2 ? CODEC_LZ4 : CODEC_ZSTD;
        size_t size = 4096 * (1 + rnd_next(&seed) % 8), n;
        fill((unsigned)(rnd_next(&seed) % 2), &seed);
        assert_int_equal(codec_pack(s, c, src, size, packed, size, &n), 0);
        for (unsigned k = 0; k < 1 + i % 4; k++)
            packed[rnd_next(&seed) % n] ^= (uint8_t)(1 + rnd_next(&seed) % 255);
        back[size] = 0xee;
        codec_unpack(s, c, packed, n, back, size);
        assert_int_equal(back[size], 0xee);
    }
}

/* ---- the choice ---- */

#define SEGMENTS 2048u
struct world { /* nanoseconds per KiB of memory */
    uint64_t pack[CODEC_MAX], link, unpack[CODEC_MAX];
    unsigned per_cent[CODEC_MAX]; /* what is left after packing */
    unsigned interrupted; /* a busy machine: packing a batch takes as many times longer than a sample */
    uint64_t room_bytes;  /* of the socket */
    struct segment {
        uint64_t bytes, nsec;
    } queue[SEGMENTS];
    uint64_t first, last, queued_bytes, clock_nsec, drained_nsec, memory_bytes;
    unsigned batches[CODEC_MAX];
};

/* First in, first out. */
static void drain(struct world *w, uint64_t nsec)
{
    while (nsec > 0 && w->first < w->last) {
        struct segment *g = &w->queue[w->first % SEGMENTS];
        uint64_t part = MIN(nsec, g->nsec), bytes = g->bytes * part / g->nsec;
        bytes = part == g->nsec ? g->bytes : bytes;
        g->nsec -= part;
        g->bytes -= bytes;
        w->queued_bytes -= bytes;
        nsec -= part;
        w->first += g->nsec == 0;
    }
}

/* One batch: packing takes time, then it goes into the room of the socket, which drains as fast as the link,
 * or the receiver that unpacks, takes it. */
static void send(struct world *w, struct codec_choice *choice, size_t bytes)
{
    enum codec sample, c = codec_choice_next(choice, bytes, &sample);
    if (sample != CODEC_NONE) {
        uint64_t nsec = w->pack[sample] * CODEC_SAMPLE_BYTES / 1024;
        w->clock_nsec += nsec;
        codec_choice_sampled(choice, sample, CODEC_SAMPLE_BYTES,
                             CODEC_SAMPLE_BYTES * w->per_cent[sample] / 100, nsec);
        c = codec_choice_next(choice, bytes, &sample);
    }
    uint64_t begun = w->clock_nsec, wire = bytes * w->per_cent[c] / 100;
    w->clock_nsec += w->pack[c] * bytes / 1024 * (c == CODEC_NONE ? 1 : MAX(w->interrupted, 1u)) + 20000;
    uint64_t unpack = w->unpack[c] * 100 / MAX(w->per_cent[c], 1u); /* nsec per KiB on the wire */
    drain(w, w->clock_nsec - w->drained_nsec);
    w->queued_bytes += wire;
    w->queue[w->last++ % SEGMENTS] =
        (struct segment){wire, MAX(MAX(w->link, unpack) * wire / 1024, UINT64_C(1))};
    for (; w->queued_bytes > w->room_bytes; w->clock_nsec += 1000) /* blocked until it fits */
        drain(w, 1000);
    w->drained_nsec = w->clock_nsec;
    w->memory_bytes += bytes;
    w->batches[c]++;
    codec_choice_sent(choice, c, bytes, w->clock_nsec - begun);
}

static const bool all[CODEC_MAX] = {true, true, true};

static uint64_t run(struct world *w, const bool *offered, unsigned batches)
{
    struct codec_choice choice;
    codec_choice_init(&choice, offered);
    w->room_bytes = (uint64_t)4 << 20;
    w->per_cent[CODEC_NONE] = 100;
    w->pack[CODEC_NONE] = 150; /* the copy into the socket */
    for (unsigned i = 0; i < batches; i++)
        send(w, &choice, (size_t)2 << 20);
    return w->clock_nsec;
}

/* 125 MB/s; zstd packs 400 MB/s to a fifth, lz4 700 MB/s to two fifths. */
static const struct world
    slow_link = {.link = 8192, .pack = {0, 1460, 2560}, .per_cent = {0, 40, 20}},
    fast_link = {.link = 300, .pack = {0, 1460, 2560}, .per_cent = {0, 40, 20}},
    noise = {.link = 8192, .pack = {0, 1460, 2560}, .per_cent = {0, 100, 100}},
    slow_peer = {.link = 300, .pack = {0, 200, 200}, .per_cent = {0, 10, 10}, .unpack = {0, 450, 450}},
    busy = {.link = 1700, .pack = {0, 1460, 1500}, .per_cent = {0, 40, 40}, .interrupted = 4};

static void test_slow_link(void **state)
{
    struct world w = slow_link, plain = slow_link;
    const bool none[CODEC_MAX] = {true};
    uint64_t with = run(&w, all, 1000), without = run(&plain, none, 1000);
    assert_true(with * 5 < without * 2); /* zstd alone would be 3.2 times as fast */
    assert_true(w.batches[CODEC_ZSTD] > 800);
}

static void test_never_slower(void **state)
{
    const struct world *const worlds[] = {&fast_link, &noise, &busy, &slow_peer};
    for (size_t i = 0; i < ELEMENTS(worlds); i++) {
        struct world w = *worlds[i], plain = *worlds[i];
        const bool none[CODEC_MAX] = {true};
        uint64_t with = run(&w, all, 1000), without = run(&plain, none, 1000);
        /* A peer that unpacks more slowly than this side packs shows only when the room in the sockets is
         * used up, so trials cost more. */
        if (with >= without + without / (i < 3 ? 50 : 8))
            fail_msg("world %zu: %llu and %llu", i, (unsigned long long)with, (unsigned long long)without);
    }
}

/* A small guest has no time in which the first trials would not show; the second waits for the first. */
static void test_little_to_send(void **state)
{
    struct world w = busy, plain = busy;
    const bool none[CODEC_MAX] = {true};
    uint64_t with = run(&w, all, 128), without = run(&plain, none, 128);
    assert_true(with < without + without / 20);
    assert_in_range(w.batches[CODEC_LZ4] + w.batches[CODEC_ZSTD], 1, 2);
}

/* What is in memory changes, and so does the link. */
static void test_follows(void **state)
{
    struct codec_choice choice;
    struct world w = slow_link;
    codec_choice_init(&choice, all);
    w.room_bytes = (uint64_t)4 << 20;
    w.per_cent[CODEC_NONE] = 100;
    w.pack[CODEC_NONE] = 150;
    for (unsigned i = 0; i < 300; i++)
        send(&w, &choice, (size_t)2 << 20);
    assert_int_equal(choice.best, CODEC_ZSTD);
    w.link = 300;
    for (unsigned i = 0; i < 1200; i++)
        send(&w, &choice, (size_t)2 << 20);
    assert_int_equal(choice.best, CODEC_NONE);
    w.link = 8192;
    for (unsigned i = 0; i < 300; i++)
        send(&w, &choice, (size_t)2 << 20);
    assert_int_equal(choice.best, CODEC_ZSTD);
    memset(w.batches, 0, sizeof w.batches);
    for (unsigned i = 0; i < 100; i++) /* a few pages each */
        send(&w, &choice, 8192);
    assert_int_equal(w.batches[CODEC_ZSTD], 100);
}

static void test_only_what_is_offered(void **state)
{
    const bool lz4[CODEC_MAX] = {true, true, false};
    struct world w = slow_link;
    run(&w, lz4, 300);
    assert_int_equal(w.batches[CODEC_ZSTD], 0);
    assert_true(w.batches[CODEC_LZ4] > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_noise),          cmocka_unit_test(test_slow_link),
        cmocka_unit_test(test_never_slower),   cmocka_unit_test(test_little_to_send),
        cmocka_unit_test(test_follows),        cmocka_unit_test(test_only_what_is_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

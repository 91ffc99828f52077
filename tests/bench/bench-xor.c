/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Would it pay to send a page again as the XOR with what was sent of it last? Pages with noise or text in
 * them into which a device wrote packets of a size, packed by lz4 as they are, and as XOR. What a page then
 * takes is the time of the processor or that of a link of 1 Gbit/s, whichever is longer, since both go on
 * beside each other. The XOR needs the last version of every page, which is as much memory again as the guest
 * has, and a copy of each page that is sent. One JSON object per line, as bench-memory.
 *
 * bench-xor [--quick]
 */
#include "transport/codec.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE_BYTES  4096u
#define PAGES       4096u
#define BATCH_PAGES 512u /* of a frame */
#define BATCH_BYTES ((size_t)BATCH_PAGES * PAGE_BYTES)
#define ALL_BYTES   ((size_t)PAGES * PAGE_BYTES)
#define LINK_BYTES  125e6 /* a second */

static uint64_t random_state = 0x2545f4914f6cdd1d;
static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void noise(uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)random_u64();
}

/* Words of a small vocabulary: packs to about a third. */
static void text(uint8_t *to, size_t size)
{
    static const char words[] = "the of and device memory page state when not which migration host that "
                                "vmm write dirty bitmap read from to is round link send again ";
    for (size_t at = 0; at < size;) {
        size_t from = random_u64() % (sizeof words - 9), n = MIN(size - at, (size_t)(2 + random_u64() % 7));
        memcpy(to + at, words + from, n);
        at += n;
    }
}

static double now_sec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void xor_pages(uint64_t *to, const uint64_t *now, uint64_t *last, size_t words)
{
    for (size_t i = 0; i < words; i++) {
        to[i] = now[i] ^ last[i];
        last[i] = now[i];
    }
}

struct cost {
    double cpu_sec, bytes; /* of all pages */
};

static double sec_per_gib(const struct cost *c)
{
    double link = c->bytes / LINK_BYTES;
    return MAX(c->cpu_sec, link) * (double)(1u << 30) / (double)ALL_BYTES;
}

static struct cost pack(struct codec_state *s, const uint8_t *now, uint8_t *last, bool xored)
{
    static uint8_t copy[BATCH_BYTES] __attribute__((aligned(64))), packed[BATCH_BYTES];
    struct cost c = {0};
    double begin = now_sec();
    for (size_t at = 0; at < ALL_BYTES; at += BATCH_BYTES) {
        size_t n;
        if (xored)
            xor_pages((uint64_t *)copy, (const uint64_t *)(now + at), (uint64_t *)(last + at),
                      BATCH_BYTES / sizeof(uint64_t));
        else
            memcpy(copy, now + at, BATCH_BYTES); /* the guest goes on writing */
        bool smaller = codec_pack(s, CODEC_LZ4, copy, BATCH_BYTES, packed, sizeof packed, &n) == 0;
        c.bytes += (double)(smaller ? n : BATCH_BYTES);
    }
    c.cpu_sec = now_sec() - begin;
    return c;
}

static void measure(struct codec_state *s, const char *what, void (*fill)(uint8_t *, size_t), size_t write,
                    unsigned writes)
{
    uint8_t *now = aligned_alloc(64, ALL_BYTES), *last = aligned_alloc(64, ALL_BYTES);
    if (!now || !last)
        exit(1);
    fill(now, ALL_BYTES);
    memcpy(last, now, ALL_BYTES);
    for (size_t page = 0; page < PAGES; page++)
        for (unsigned i = 0; i < writes; i++)
            noise(now + page * PAGE_BYTES + random_u64() % (PAGE_BYTES - write + 1), write);
    const struct cost off = {.bytes = (double)ALL_BYTES};
    struct cost plain = pack(s, now, NULL, false), xored = pack(s, now, last, true);
    struct cost best = sec_per_gib(&plain) < sec_per_gib(&off) ? plain : off;
    printf("{\"case\": \"%s, %u x %zu bytes written in a page, XOR and lz4\", \"figure\": %.3f, \"unit\": "
           "\"s/GiB\", \"ratio\": %.3f, \"against\": \"the better of none and lz4\"}\n",
           what, writes, write, sec_per_gib(&xored), sec_per_gib(&best) / sec_per_gib(&xored));
    printf("{\"case\": \"%s, %u x %zu bytes written in a page, XOR and lz4: CPU\", \"figure\": %.3f, "
           "\"unit\": \"s/GiB\", \"ratio\": %.3f, \"against\": \"lz4\"}\n",
           what, writes, write, xored.cpu_sec * (double)(1u << 30) / (double)ALL_BYTES,
           plain.cpu_sec / xored.cpu_sec);
    free(now);
    free(last);
}

int main(void)
{
    static const struct {
        size_t write;
        unsigned writes;
    } shapes[] = {{64, 1}, {64, 8}, {256, 2}, {256, 8}, {1500, 1}, {1500, 2}, {4096, 1}};
    struct codec_state *s;
    if (codec_state_new(&s) < 0)
        return 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        measure(s, "noise", noise, shapes[i].write, shapes[i].writes);
        measure(s, "text", text, shapes[i].write, shapes[i].writes);
    }
    codec_state_free(s);
    return 0;
}

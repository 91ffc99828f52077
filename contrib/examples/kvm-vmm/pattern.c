/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pattern.h"
#include "../common/say.h"
#include "guest.h"
#include <inttypes.h>
#include <string.h>

#define SAID_MAX 5u

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void pattern_init(struct pattern *p, const char *name, uint8_t *base, uint64_t magic, uint64_t pages)
{
    *p = (struct pattern){.name = name, .base = base, .magic = magic, .pages = pages};
    /* Far apart, so that a lap does not walk through memory in order. */
    for (p->stride = pages / 2 + pages / 8 + 1; common_divisor(p->stride, pages) != 1; p->stride++)
        ;
}

uint64_t pattern_page(const struct pattern *p, uint64_t seq)
{
    return (uint64_t)((unsigned __int128)(seq - 1) * p->stride % p->pages);
}

static uint64_t word(const void *page, unsigned at)
{
    uint64_t w;
    memcpy(&w, (const uint8_t *)page + at, sizeof w);
    return w;
}

static void put(void *page, unsigned at, uint64_t w)
{
    memcpy((uint8_t *)page + at, &w, sizeof w);
}

static uint64_t check_word(const struct pattern *p, uint64_t page, uint64_t seq)
{
    return (seq << 32 | seq >> 32) ^ page ^ p->magic;
}

void pattern_fill(const struct pattern *p, uint64_t seq, void *page)
{
    uint64_t at = pattern_page(p, seq);
    memset(page, 0, GUEST_PAGE_BYTES);
    put(page, 0, p->magic);
    put(page, RECORD_PAGE, at);
    put(page, RECORD_SEQ, seq);
    put(page, RECORD_CHECK, check_word(p, at, seq));
    put(page, RECORD_TAIL, ~seq);
}

/* seq 0: nothing was written there. */
static bool holds(const struct pattern *p, uint64_t page, uint64_t seq)
{
    const uint8_t *at = p->base + page * GUEST_PAGE_BYTES;
    if (!seq)
        return word(at, 0) == 0 && word(at, RECORD_SEQ) == 0 && word(at, RECORD_TAIL) == 0;
    return word(at, 0) == p->magic && word(at, RECORD_PAGE) == page && word(at, RECORD_SEQ) == seq &&
           word(at, RECORD_CHECK) == check_word(p, page, seq) && word(at, RECORD_TAIL) == ~seq;
}

uint64_t pattern_check(const struct pattern *p, uint64_t count, bool under_way)
{
    uint64_t bad = 0, next = pattern_page(p, count + 1);
    /* The records of the last lap; in the first lap the pages after them have none. */
    for (uint64_t i = 0; i < p->pages; i++) {
        bool written = i < count;
        uint64_t page = pattern_page(p, written ? count - i : i + 1);
        uint64_t seq = written ? count - i : 0;
        if ((under_way && page == next) || holds(p, page, seq))
            continue;
        if (bad++ < SAID_MAX)
            say("bad", "%s page %" PRIu64 " has record %" PRIu64 ", not %" PRIu64, p->name, page,
                word(p->base + page * GUEST_PAGE_BYTES, RECORD_SEQ), seq);
    }
    return bad;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* apply_run against a peer that means harm: nothing outside the named ranges is touched, and every lie is an
 * error. */
#include "base/clock.h"
#include "incoming/apply.h"
#include "transport/codec.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <cmocka.h>

#define PAGE 4096u

struct bench {
    struct region *regions[2]; /* 16 pages; 4 pages that may not be written */
    struct apply_counters counters;
    struct channel *out;
    struct frame_stream stream;
    int in;
    unsigned fences;
};

static void on_fence(void *userdata, unsigned connection, uint32_t round, uint64_t of)
{
    struct bench *b = userdata;
    assert_int_equal(connection, 5);
    assert_int_equal(round, 77);
    b->fences++;
}

static void set_up(struct bench *b, bool checksum)
{
    *b = (struct bench){0};
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(region_new_made(&b->regions[0], "ram", 16 * PAGE, 0, -1, &err), 0);
    int fd = memfd_create("rom", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
    assert_int_equal(region_new_from_fd(&b->regions[1], "rom", fd, 0, 0, false, &err), 0);
    close(fd);
    memset(b->regions[0]->map, 0x11, 16 * PAGE);
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(channel_from_socket(&b->out, sv[0], NULL, -1), 0);
    b->in = sv[1];
    frame_stream_init(&b->stream, b->out, checksum);
}

static void offer(struct bench *b, struct wire_header h, const struct wire_extent *table, const void *bytes,
                  size_t size)
{
    struct iovec iov[2];
    int n = 0;
    if (h.count)
        iov[n++] = (struct iovec){(void *)table, h.count * sizeof *table};
    if (size)
        iov[n++] = (struct iovec){(void *)bytes, size};
    h.length = h.count * sizeof *table + size;
    assert_int_equal(frame_send(&b->stream, &h, iov, n), 0);
}

/* Runs what was offered, closes everything. */
static int run(struct bench *b, struct mig_error *err)
{
    struct channel *in = NULL;
    struct frame_stream stream;
    struct apply apply = {
        .regions = b->regions, .nregions = 2, .counters = &b->counters, .fence = on_fence, .userdata = b};
    b->out = channel_free(b->out);
    assert_int_equal(channel_from_socket(&in, b->in, "evil", -1), 0);
    frame_stream_init(&stream, in, false);
    int r = apply_run(&apply, 5, &stream, err);
    channel_free(in);
    return r;
}

static void tear_down(struct bench *b)
{
    region_unref(b->regions[0]);
    region_unref(b->regions[1]);
}

static bool all(const uint8_t *p, size_t size, uint8_t value)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != value)
            return false;
    return true;
}

static uint8_t pages[8 * PAGE];

static void test_good(void **state)
{
    for (int checksum = 0; checksum < 2; checksum++) {
        struct bench b;
        set_up(&b, checksum);
        memset(pages, 0x22, sizeof pages);
        const struct wire_extent table[] = {{14 * PAGE, 2 * PAGE}, {3 * PAGE, PAGE}},
                                 zero[] = {{5 * PAGE, PAGE}, {7 * PAGE, PAGE}};
        offer(&b, (struct wire_header){.type = WIRE_PAGES, .offset = PAGE}, NULL, pages, PAGE);
        offer(&b, (struct wire_header){.type = WIRE_PAGES, .count = 2}, table, pages, 3 * PAGE);
        offer(&b, (struct wire_header){.type = WIRE_ZERO, .count = 2}, zero, NULL, 0);
        offer(&b, (struct wire_header){.type = WIRE_ZERO, .offset = 9 * PAGE, .payload_checksum = 3 * PAGE},
              NULL, NULL, 0);
        offer(&b, (struct wire_header){.type = WIRE_FENCE, .round = 77}, NULL, NULL, 0);
        struct mig_error err = MIG_ERROR_INIT;
        assert_int_equal(run(&b, &err), 0);
        assert_false(mig_error_is_set(&err));
        static const uint8_t expected[16] = {0x11, 0x22, 0x11, 0x22, 0x11, 0,    0x11, 0,
                                             0x11, 0,    0,    0,    0x11, 0x11, 0x22, 0x22};
        for (int i = 0; i < 16; i++)
            if (!all(b.regions[0]->map + i * PAGE, PAGE, expected[i]))
                fail_msg("page %d", i);
        assert_int_equal(b.fences, 1);
        assert_int_equal(b.counters.normal_pages, 4);
        assert_int_equal(b.counters.zero_pages, 5);
        assert_int_equal(b.counters.payload_bytes, 4 * PAGE);
        tear_down(&b);
    }
}

static void test_hostile(void **state)
{
    const uint64_t far = UINT64_C(1) << 63, top = UINT64_MAX - PAGE + 1;
    const struct {
        struct wire_header h;
        struct wire_extent table[2];
        size_t size;
    } cases[] = {
        {{.type = WIRE_PAGES, .region = 2}, {{0}}, PAGE},
        {{.type = WIRE_PAGES, .region = UINT32_MAX}, {{0}}, PAGE},
        {{.type = WIRE_PAGES, .region = 1}, {{0}}, PAGE}, /* not writable */
        {{.type = WIRE_PAGES, .offset = 16 * PAGE}, {{0}}, PAGE},
        {{.type = WIRE_PAGES, .offset = 15 * PAGE}, {{0}}, 2 * PAGE},
        {{.type = WIRE_PAGES, .offset = far}, {{0}}, PAGE},
        {{.type = WIRE_PAGES, .offset = top}, {{0}}, 2 * PAGE},
        {{.type = WIRE_PAGES, .count = 1}, {{16 * PAGE, PAGE}}, PAGE},
        {{.type = WIRE_PAGES, .count = 1}, {{1, PAGE}}, PAGE},
        {{.type = WIRE_PAGES, .count = 1}, {{0, PAGE - 1}}, PAGE},
        {{.type = WIRE_PAGES, .count = 1}, {{0, 2 * PAGE}}, PAGE}, /* the extents want more than there is */
        {{.type = WIRE_PAGES, .count = 1}, {{0, PAGE}}, 2 * PAGE}, /* or less */
        {{.type = WIRE_PAGES, .count = 2}, {{0, PAGE}, {PAGE, 0}}, PAGE},
        {{.type = WIRE_PAGES, .count = 2}, {{0, far}, {0, far + PAGE}}, PAGE}, /* the sum would wrap */
        {{.type = WIRE_PAGES, .count = 2}, {{top, 2 * PAGE}, {0, 0}}, PAGE},
        {{.type = WIRE_ZERO, .region = 9, .payload_checksum = PAGE}, {{0}}, 0},
        {{.type = WIRE_ZERO, .region = 1, .payload_checksum = PAGE}, {{0}}, 0},
        {{.type = WIRE_ZERO, .payload_checksum = 17 * PAGE}, {{0}}, 0},
        {{.type = WIRE_ZERO, .offset = PAGE, .payload_checksum = top}, {{0}}, 0},
        {{.type = WIRE_ZERO, .count = 1}, {{0, 17 * PAGE}}, 0},
        {{.type = WIRE_ZERO, .count = 2}, {{0, PAGE}, {8, PAGE}}, 0},
        {{.type = WIRE_HELLO}, {{0}}, 2},
        {{.type = WIRE_MESSAGE}, {{0}}, 2},
        {{.type = WIRE_STATE}, {{0}}, 100},
        {{.type = WIRE_DIGESTS}, {{0}}, 8},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct bench b;
        struct mig_error err = MIG_ERROR_INIT;
        set_up(&b, false);
        offer(&b, cases[i].h, cases[i].table, pages, cases[i].size);
        offer(&b, (struct wire_header){.type = WIRE_FENCE, .round = 77}, NULL, NULL, 0);
        if (run(&b, &err) != -EPROTO || err.code != MIG_ERR_PEER_PROTOCOL || b.fences)
            fail_msg("case %zu: %s", i, err.message);
        if (!strstr(err.message, "evil") || !strstr(err.message, "connection 5"))
            fail_msg("case %zu says %s", i, err.message);
        if (!all(b.regions[0]->map, 16 * PAGE, 0x11) || !all(b.regions[1]->map, 4 * PAGE, 0))
            fail_msg("case %zu touched memory", i);
        assert_int_equal(b.counters.normal_pages + b.counters.zero_pages, 0);
        tear_down(&b);
    }
}

static uint8_t packed[CODEC_MAX_BYTES];

/* One extent, which is unpacked in place, and several. */
static void test_packed(void **state)
{
    _cleanup_(codec_state_freep) struct codec_state *s = NULL;
    const struct wire_extent one = {4 * PAGE, 2 * PAGE}, two[] = {{9 * PAGE, PAGE}, {PAGE, PAGE}};
    assert_int_equal(codec_state_new(&s), 0);
    memset(pages, 0x22, PAGE);
    memset(pages + PAGE, 0x33, PAGE);
    for (int checksum = 0; checksum < 2; checksum++)
        for (int codec = CODEC_NONE + 1; codec < CODEC_MAX; codec++) {
            struct bench b;
            size_t n;
            set_up(&b, checksum);
            assert_int_equal(codec_pack(s, (enum codec)codec, pages, 2 * PAGE, packed, PAGE, &n), 0);
            struct wire_header h = {.type = WIRE_PACKED, .offset = (uint64_t)codec, .count = 1};
            offer(&b, h, &one, packed, n);
            h.count = 2;
            offer(&b, h, two, packed, n);
            struct mig_error err = MIG_ERROR_INIT;
            assert_int_equal(run(&b, &err), 0);
            static const uint8_t expected[16] = {[1] = 0x33, [4] = 0x22, [5] = 0x33, [9] = 0x22};
            for (int i = 0; i < 16; i++)
                if (!all(b.regions[0]->map + i * PAGE, PAGE, expected[i] ? expected[i] : 0x11))
                    fail_msg("codec %d, page %d", codec, i);
            assert_int_equal(b.counters.normal_pages, 4);
            tear_down(&b);
        }
}

/* Pieces that unpack to more or less than their extents, and what is no piece at all. Nothing outside of the
 * extents is touched. */
static void test_packed_lies(void **state)
{
    _cleanup_(codec_state_freep) struct codec_state *s = NULL;
    assert_int_equal(codec_state_new(&s), 0);
    memset(pages, 0x22, sizeof pages);
    const uint64_t max = WIRE_PACKED_MAX_BYTES;
    const struct {
        uint64_t codec, region;
        struct wire_extent table[2];
        uint32_t count;
        size_t unpacked, cut;
        bool noise;
    } cases[] = {
        {1, 0, {{0, PAGE}}, 1, 2 * PAGE, 0, false},
        {2, 0, {{0, PAGE}}, 1, 2 * PAGE, 0, false},
        {1, 0, {{0, 2 * PAGE}}, 1, PAGE, 0, false},
        {2, 0, {{0, PAGE}, {4 * PAGE, PAGE}}, 2, PAGE, 0, false},
        {2, 0, {{0, PAGE}}, 1, PAGE, 1, false},
        {1, 0, {{0, PAGE}}, 1, PAGE, 1, false},
        {1, 0, {{0, PAGE}}, 1, PAGE, 0, true},
        {2, 0, {{0, PAGE}}, 1, PAGE, 0, true},
        {0, 0, {{0, PAGE}}, 1, PAGE, 0, false},
        {3, 0, {{0, PAGE}}, 1, PAGE, 0, false},
        {UINT64_MAX, 0, {{0, PAGE}}, 1, PAGE, 0, false},
        {1, 1, {{0, PAGE}}, 1, PAGE, 0, false},
        {1, 7, {{0, PAGE}}, 1, PAGE, 0, false},
        {1, 0, {{15 * PAGE, 2 * PAGE}}, 1, 2 * PAGE, 0, false},
        {1, 0, {{0, 0}}, 1, PAGE, 0, false},
        {1, 0, {{0, max + PAGE}}, 1, PAGE, 0, false},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct bench b;
        struct mig_error err = MIG_ERROR_INIT;
        size_t n;
        set_up(&b, false);
        enum codec codec = cases[i].codec == 2 ? CODEC_ZSTD : CODEC_LZ4;
        assert_int_equal(codec_pack(s, codec, pages, cases[i].unpacked, packed, cases[i].unpacked, &n), 0);
        if (cases[i].noise)
            memset(packed, 0xa7, n);
        offer(&b,
              (struct wire_header){.type = WIRE_PACKED,
                                   .offset = cases[i].codec,
                                   .region = (uint32_t)cases[i].region,
                                   .count = cases[i].count},
              cases[i].table, packed, n - cases[i].cut);
        if (run(&b, &err) != -EPROTO || err.code != MIG_ERR_PEER_PROTOCOL || !strstr(err.message, "evil"))
            fail_msg("case %zu: %s", i, err.message);
        if (!all(b.regions[0]->map + 5 * PAGE, 11 * PAGE, 0x11) || !all(b.regions[1]->map, 4 * PAGE, 0))
            fail_msg("case %zu touched memory", i);
        assert_int_equal(b.counters.normal_pages, 0);
        tear_down(&b);
    }
}

static void test_damaged_payload(void **state)
{
    struct bench b;
    set_up(&b, true);
    struct wire_header h = {.type = WIRE_PAGES, .length = PAGE};
    struct channel *wire = b.out, *tap_out = NULL, *tap_in = NULL;
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(channel_from_socket(&tap_out, sv[0], NULL, -1), 0);
    assert_int_equal(channel_from_socket(&tap_in, sv[1], NULL, -1), 0);
    b.stream.channel = tap_out;
    assert_int_equal(frame_send(&b.stream, &h, &(struct iovec){pages, PAGE}, 1), 0);
    uint8_t frame[64 + PAGE];
    assert_int_equal(tap_in->ops->recvv(tap_in, &(struct iovec){frame, sizeof frame}, 1), 0);
    frame[64 + 1000] ^= 4;
    assert_int_equal(wire->ops->sendv(wire, &(struct iovec){frame, sizeof frame}, 1), 0);
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(run(&b, &err), -EBADMSG);
    assert_int_equal(err.code, MIG_ERR_PEER_PROTOCOL);
    channel_free(tap_out);
    channel_free(tap_in);
    tear_down(&b);
}

static void test_cut_off(void **state)
{
    struct bench b;
    set_up(&b, false);
    struct wire_header h = {.type = WIRE_PAGES, .length = 4 * PAGE};
    assert_int_equal(frame_send(&b.stream, &h, &(struct iovec){pages, PAGE}, 1), 0);
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(run(&b, &err), -ECONNRESET);
    assert_int_equal(err.code, MIG_ERR_PEER_LOST);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good),
                                       cmocka_unit_test(test_hostile),
                                       cmocka_unit_test(test_packed),
                                       cmocka_unit_test(test_packed_lies),
                                       cmocka_unit_test(test_damaged_payload),
                                       cmocka_unit_test(test_cut_off)};
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames: what is sent comes back, and every field that is damaged, every limit that is passed, is an error
 * and nothing else. */
#include "transport/frame.h"
#include "base/clock.h"
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

struct ends {
    struct channel *a, *b;
    struct frame_stream out, in;
};

static void open_ends(struct ends *e, bool checksum)
{
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    for (int i = 0; i < 2; i++) {
        int size = 1 << 20;
        setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    assert_int_equal(channel_from_socket(&e->a, sv[0], "a", -1), 0);
    assert_int_equal(channel_from_socket(&e->b, sv[1], "b", -1), 0);
    e->a->stall_timeout_usec = e->b->stall_timeout_usec = 2 * USEC_PER_SEC;
    frame_stream_init(&e->out, e->a, checksum);
    frame_stream_init(&e->in, e->b, checksum);
}

static void close_ends(struct ends *e)
{
    e->a = channel_free(e->a);
    e->b = channel_free(e->b);
}

static void test_round_trip(void **state)
{
    for (int checksum = 0; checksum < 2; checksum++) {
        struct ends e;
        open_ends(&e, checksum);
        uint64_t digest = 0x1122334455667788, got = 0;
        char page[4096], back[4096];
        memset(page, 0x5a, sizeof page);
        struct wire_header h,
            sent[] = {
                {.type = WIRE_PAGES, .region = 3, .offset = 8192, .length = 4096, .round = 2},
                {.type = WIRE_ZERO, .region = 1, .offset = 4096, .payload_checksum = UINT64_C(1) << 40},
                {.type = WIRE_FENCE, .round = 9},
                {.type = WIRE_STATE, .region = WIRE_STATE_VMM, .offset = 5, .length = 0},
                {.type = WIRE_STATE_END, .region = 2, .offset = 77, .length = 8},
            };
        for (size_t i = 0; i < ELEMENTS(sent); i++) {
            struct iovec iov = {sent[i].type == WIRE_PAGES ? (void *)page : &digest, sent[i].length};
            uint64_t zero = sent[i].payload_checksum;
            assert_int_equal(frame_send(&e.out, &sent[i], &iov, sent[i].length ? 1 : 0), 0);
            assert_int_equal(frame_recv(&e.in, &h, NULL), 0);
            assert_int_equal(h.type, sent[i].type);
            assert_int_equal(h.region, sent[i].region);
            assert_int_equal(h.offset, sent[i].offset);
            assert_int_equal(h.length, sent[i].length);
            assert_int_equal(h.round, sent[i].round);
            assert_int_equal(h.sequence, i);
            assert_int_equal(h.flags & WIRE_FLAG_CHECKSUM, checksum && h.length ? WIRE_FLAG_CHECKSUM : 0);
            if (h.type == WIRE_ZERO)
                assert_int_equal(h.payload_checksum, zero);
            struct iovec in = {h.type == WIRE_PAGES ? (void *)back : &got, h.length};
            assert_int_equal(frame_recv_payload(&e.in, &h, &in, 1, NULL), 0);
        }
        assert_memory_equal(page, back, sizeof page);
        assert_int_equal(got, digest);
        /* A list longer than what one call takes, received in parts. */
        struct wire_extent table[200], table_back[200];
        static char pages[200][4096], pages_back[200][4096];
        struct iovec iov[201] = {{table, sizeof table}}, in[200];
        for (int i = 0; i < 200; i++) {
            table[i] = (struct wire_extent){.offset = (uint64_t)i * 8192, .length = 4096};
            memset(pages[i], i, 4096);
            iov[i + 1] = (struct iovec){pages[i], 4096};
            in[i] = (struct iovec){pages_back[i], 4096};
        }
        struct wire_header many = {.type = WIRE_PAGES, .count = 200, .length = sizeof table + sizeof pages};
        assert_int_equal(frame_send(&e.out, &many, iov, 201), 0);
        assert_int_equal(frame_recv(&e.in, &h, NULL), 0);
        struct frame_payload p;
        frame_payload_begin(&p, &h);
        struct iovec t = {table_back, sizeof table_back};
        assert_int_equal(frame_payload_recv(&e.in, &p, &t, 1, NULL), 0);
        assert_int_equal(frame_payload_end(&e.in, &p, NULL), -EINVAL); /* not all of it yet */
        assert_int_equal(frame_payload_recv(&e.in, &p, in, 200, NULL), 0);
        assert_int_equal(frame_payload_end(&e.in, &p, NULL), 0);
        assert_memory_equal(table, table_back, sizeof table);
        assert_memory_equal(pages, pages_back, sizeof pages);
        /* More room than the frame has. */
        assert_int_equal(frame_send(&e.out, &sent[0], &(struct iovec){page, 4096}, 1), 0);
        assert_int_equal(frame_recv(&e.in, &h, NULL), 0);
        assert_int_equal(frame_recv_payload(&e.in, &h, &(struct iovec){pages, 8192}, 1, NULL), -EINVAL);
        close_ends(&e);
    }
}

/* A header as a peer would send it, its checksum right unless spoilt afterwards. */
static void seal(struct wire_header *h)
{
    h->header_checksum = XXH3_64bits(h, offsetof(struct wire_header, header_checksum));
}

static struct wire_header good(void)
{
    struct wire_header h = {.magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_PAGES, .length = 4096};
    seal(&h);
    return h;
}

static int offer(const struct wire_header *h)
{
    struct ends e;
    struct mig_error err = MIG_ERROR_INIT;
    struct wire_header ret;
    open_ends(&e, false);
    struct iovec iov = {(void *)h, sizeof *h};
    assert_int_equal(e.a->ops->sendv(e.a, &iov, 1), 0);
    int r = frame_recv(&e.in, &ret, &err);
    if (r < 0) {
        assert_int_equal(r, -EPROTO);
        assert_int_equal(err.code, MIG_ERR_PEER_PROTOCOL);
        assert_true(strlen(err.message) > 20);
    }
    close_ends(&e);
    return r;
}

static void test_damaged(void **state)
{
    struct wire_header h = good();
    assert_int_equal(offer(&h), 0);
    /* Every single bit of the header. */
    for (size_t bit = 0; bit < sizeof h * 8; bit++) {
        h = good();
        ((uint8_t *)&h)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(offer(&h), -EPROTO);
    }
}

static void test_limits(void **state)
{
    const uint32_t extent = sizeof(struct wire_extent);
    const uint16_t sum = WIRE_FLAG_CHECKSUM;
    const struct wire_header bad[] = {
        {.magic = 1, .type = WIRE_FENCE},
        {.version = WIRE_VERSION + 1, .type = WIRE_FENCE},
        {.type = 0},
        {.type = 9},
        {.type = 255},
        {.type = WIRE_FENCE, .flags = 2},
        {.type = WIRE_FENCE, .reserved = 1},
        {.type = WIRE_FENCE, .sequence = 1},
        {.type = WIRE_FENCE, .length = 1},
        {.type = WIRE_FENCE, .count = 1},
        {.type = WIRE_HELLO, .length = 0},
        {.type = WIRE_HELLO, .length = WIRE_JSON_MAX_BYTES + 1},
        {.type = WIRE_HELLO, .length = 2, .count = 1},
        {.type = WIRE_MESSAGE, .length = UINT64_MAX},
        {.type = WIRE_PAGES, .length = 0},
        {.type = WIRE_PAGES, .length = 4095},
        {.type = WIRE_PAGES, .length = 4096, .offset = 1},
        {.type = WIRE_PAGES, .length = WIRE_PAYLOAD_MAX_BYTES + 4096},
        {.type = WIRE_PAGES, .length = UINT64_MAX - 4095},
        {.type = WIRE_PAGES, .length = 4096, .count = 1},
        {.type = WIRE_PAGES, .length = 16, .count = 1},
        {.type = WIRE_PAGES, .length = 4096 + 16 * (WIRE_EXTENTS_MAX + 1), .count = WIRE_EXTENTS_MAX + 1},
        {.type = WIRE_PAGES, .length = 4096 + extent, .count = UINT32_MAX},
        {.type = WIRE_ZERO},
        {.type = WIRE_ZERO, .payload_checksum = 4095},
        {.type = WIRE_ZERO, .payload_checksum = 4096, .offset = 512},
        {.type = WIRE_ZERO, .payload_checksum = 4096, .flags = sum},
        {.type = WIRE_ZERO, .payload_checksum = 4096, .length = 4096},
        {.type = WIRE_ZERO, .count = 2, .length = extent},
        {.type = WIRE_STATE, .length = WIRE_PAYLOAD_MAX_BYTES + 1},
        {.type = WIRE_STATE, .length = 32, .count = 2},
        {.type = WIRE_STATE_END, .length = 0},
        {.type = WIRE_STATE_END, .length = 9},
        {.type = WIRE_DIGESTS, .length = 0},
        {.type = WIRE_DIGESTS, .length = 12},
        {.type = WIRE_DIGESTS, .length = 8, .offset = 100},
        {.type = WIRE_DIGESTS, .length = WIRE_PAYLOAD_MAX_BYTES + 8},
    };
    const struct wire_header fine[] = {
        {.type = WIRE_HELLO, .length = WIRE_JSON_MAX_BYTES},
        {.type = WIRE_PAGES, .length = WIRE_PAYLOAD_MAX_BYTES},
        {.type = WIRE_PAGES,
         .length = 4096u * WIRE_EXTENTS_MAX / 2 + extent * WIRE_EXTENTS_MAX,
         .count = WIRE_EXTENTS_MAX},
        {.type = WIRE_ZERO, .count = WIRE_EXTENTS_MAX, .length = extent * WIRE_EXTENTS_MAX, .flags = sum},
        {.type = WIRE_STATE, .length = WIRE_PAYLOAD_MAX_BYTES},
        {.type = WIRE_DIGESTS, .length = WIRE_PAYLOAD_MAX_BYTES},
    };
    for (size_t i = 0; i < ELEMENTS(bad) + ELEMENTS(fine); i++) {
        bool ok = i >= ELEMENTS(bad);
        struct wire_header h = ok ? fine[i - ELEMENTS(bad)] : bad[i];
        if (!h.magic)
            h.magic = WIRE_MAGIC;
        if (!h.version)
            h.version = WIRE_VERSION;
        seal(&h);
        if (offer(&h) != (ok ? 0 : -EPROTO))
            fail_msg("case %zu", i);
    }
}

static void test_own_mistakes(void **state)
{
    struct ends e;
    open_ends(&e, true);
    char page[4096] = {0};
    struct iovec iov = {page, sizeof page};
    struct wire_header h = {.type = WIRE_PAGES, .length = 8192};
    assert_int_equal(frame_send(&e.out, &h, &iov, 1), -EINVAL); /* the rest by send_file, with checksums */
    h.length = 100;
    assert_int_equal(frame_send(&e.out, &h, &iov, 1), -EINVAL);
    assert_int_equal(e.out.send_sequence, 0);
    assert_int_equal(e.a->sent_bytes, 0);
    close_ends(&e);
}

static void test_payload_damaged(void **state)
{
    struct ends e;
    open_ends(&e, true);
    char page[4096] = {1}, back[4096];
    struct wire_header h = {.type = WIRE_PAGES, .length = 4096}, got;
    struct iovec iov = {page, sizeof page};
    assert_int_equal(frame_send(&e.out, &h, &iov, 1), 0);
    assert_int_equal(frame_recv(&e.in, &got, NULL), 0);
    got.payload_checksum ^= 1;
    struct mig_error err = MIG_ERROR_INIT;
    iov = (struct iovec){back, sizeof back};
    assert_int_equal(frame_recv_payload(&e.in, &got, &iov, 1, &err), -EBADMSG);
    assert_int_equal(err.code, MIG_ERR_PEER_PROTOCOL);
    close_ends(&e);
}

static void test_ends(void **state)
{
    struct ends e;
    struct wire_header h = {.type = WIRE_PAGES, .length = 4096}, got;
    struct mig_error err = MIG_ERROR_INIT;
    char page[4096] = {0};
    open_ends(&e, false);
    assert_int_equal(frame_send(&e.out, &h, &(struct iovec){page, 100}, 1), 0); /* the rest never comes */
    e.a = channel_free(e.a);
    assert_int_equal(frame_recv(&e.in, &got, &err), 0);
    assert_int_equal(frame_recv_payload(&e.in, &got, &(struct iovec){page, 4096}, 1, &err), -ECONNRESET);
    assert_int_equal(err.code, MIG_ERR_PEER_LOST);
    assert_int_equal(frame_recv(&e.in, &got, &err),
                     -EPIPE); /* the state of the socket: the end, between frames */
    close_ends(&e);
    open_ends(&e, false);
    e.in.idle_timeout_usec = 50000;
    assert_int_equal(frame_recv(&e.in, &got, &err), -ETIMEDOUT);
    close_ends(&e);
}

static int offer_text(const char *text, size_t size, struct json_object **ret)
{
    struct ends e;
    struct wire_header h = {.type = WIRE_MESSAGE, .length = size};
    open_ends(&e, true);
    assert_int_equal(frame_send(&e.out, &h, &(struct iovec){(char *)text, size}, 1), 0);
    assert_int_equal(frame_recv(&e.in, &h, NULL), 0);
    struct mig_error err = MIG_ERROR_INIT;
    int r = frame_recv_json(&e.in, &h, ret, &err);
    assert_int_equal(r < 0, mig_error_is_set(&err));
    close_ends(&e);
    return r;
}

static void nest(char *text, int depth)
{
    strcpy(text, "{\"a\":");
    for (int i = 1; i < depth; i++)
        strcat(text, "[");
    strcat(text, "1");
    for (int i = 1; i < depth; i++)
        strcat(text, "]");
    strcat(text, "}");
}

static void test_json(void **state)
{
    struct json_object *o = NULL;
    struct ends e;
    open_ends(&e, true);
    struct json_object *sent =
        json_tokener_parse("{\"message\": \"fence\", \"round\": 3, \"t\": \"\\u00e4\"}");
    struct wire_header h;
    assert_int_equal(frame_send_json(&e.out, WIRE_MESSAGE, sent, NULL), 0);
    assert_int_equal(frame_recv(&e.in, &h, NULL), 0);
    assert_int_equal(h.type, WIRE_MESSAGE);
    assert_int_equal(frame_recv_json(&e.in, &h, &o, NULL), 0);
    assert_true(json_object_equal(sent, o));
    json_object_put(o);
    json_object_put(sent);
    char *huge = malloc(WIRE_JSON_MAX_BYTES + 1);
    memset(huge, 'x', WIRE_JSON_MAX_BYTES);
    huge[WIRE_JSON_MAX_BYTES] = '\0';
    sent = json_object_new_object();
    json_object_object_add(sent, "text", json_object_new_string(huge));
    struct mig_error err = MIG_ERROR_INIT;
    assert_true(frame_send_json(&e.out, WIRE_MESSAGE, sent, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_LIMIT);
    json_object_put(sent);
    free(huge);
    h = (struct wire_header){.type = WIRE_STATE, .length = 2};
    assert_int_equal(frame_recv_json(&e.in, &h, &o, NULL), -EPROTO);
    close_ends(&e);

    const char *const bad[] = {"[]",  "1",       "\"a\"", "null",     "{",    "{}x", "{} {}",
                               "nul", "{\"a\"}", "{a:1}", "{\"a\":}", "\xff", "}",   "{\"a\":\"\xc0\"}"};
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        o = NULL;
        if (offer_text(bad[i], strlen(bad[i]), &o) != -EPROTO || o)
            fail_msg("%s was taken", bad[i]);
    }
    assert_int_equal(offer_text("{}\0{}", 5, &o), -EPROTO);
    char text[64];
    nest(text, 16);
    assert_int_equal(offer_text(text, strlen(text), &o), 0);
    json_object_put(o);
    nest(text, 17);
    o = NULL;
    assert_int_equal(offer_text(text, strlen(text), &o), -EPROTO);
    assert_null(o);
}

/* json-c makes the nearest number that fits of one that does not. */
static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        bool taken;
    } rows[] = {
        {"{\"a\":18446744073709551615}", true},
        {"{\"a\":18446744073709551616}", false},
        {"{\"a\":18446744073709551620}", false},
        {"{\"a\":99999999999999999999999999999999999999999}", false},
        {"{\"a\":-9223372036854775808}", true},
        {"{\"a\":-9223372036854775809}", false},
        {"{\"a\":[1, 2, {\"b\":18446744073709551616}]}", false},
        {"{\"a\":1,\"b\":[18446744073709551616]}", false},
        {"{\"a\":\"18446744073709551616\"}", true},
        {"{\"18446744073709551616\":\"\\\"18446744073709551616\\\\\"}", true},
        {"{\"a\":\"\\\\\",\"b\":18446744073709551616}", false},
        {"{\"a\":99999999999999999999999.5}", true},
        {"{\"a\":0.99999999999999999999999}", true},
        {"{\"a\":1e-9999999999999999999999}", true},
    };
    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        struct json_object *o = NULL;
        int r = offer_text(rows[i].text, strlen(rows[i].text), &o);
        if (r != (rows[i].taken ? 0 : -EPROTO))
            fail_msg("%s gave %d", rows[i].text, r);
        json_object_put(o);
    }
}

/* Random frames, mostly sealed so that they get past the checksum: the receiver says yes or no, and stays
 * inside its buffers. */
static void test_mutations(void **state)
{
    uint64_t seed = 0x9e3779b97f4a7c15;
    unsigned taken = 0, refused = 0;
    for (int i = 0; i < 4000; i++) {
        struct wire_header h = {.magic = WIRE_MAGIC, .version = WIRE_VERSION};
        uint64_t r[10];
        for (size_t k = 0; k < ELEMENTS(r); k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            r[k] = seed;
        }
        h.type = (uint8_t)(r[0] % 10);
        h.count = (uint32_t)(r[1] % 4 ? r[1] >> 8 & 3 : r[1]);
        h.length = r[2] % 3 ? (r[2] >> 8 & 7) * 4096 + h.count * 16 : r[2] >> (r[3] & 63);
        h.offset = r[4] % 3 ? r[4] & ~UINT64_C(4095) : r[4];
        h.payload_checksum = r[5] % 3 ? r[5] & ~UINT64_C(4095) : r[5];
        h.flags = r[6] % 5 ? 0 : (uint16_t)(r[6] >> 8 & 3);
        h.region = (uint32_t)r[7];
        seal(&h);
        if (r[8] % 8 == 0)
            ((uint8_t *)&h)[r[9] % 64] ^= (uint8_t)(1u << (r[9] >> 8 & 7));
        if (offer(&h) == 0) {
            taken++;
            assert_true(h.length <= WIRE_PAYLOAD_MAX_BYTES && h.count <= WIRE_EXTENTS_MAX);
        } else {
            refused++;
        }
    }
    assert_true(taken > 100 && refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_own_mistakes),
        cmocka_unit_test(test_payload_damaged),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_mutations),
    };
    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

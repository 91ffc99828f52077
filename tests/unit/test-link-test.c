/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measuring the link, both ends: a real daemon's listener and the real measurement between them, destinations
 * that answer with nonsense, and peers that misuse the offer to throw bytes away.
 */
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/ratelimit.h"
#include "incoming/probe.h"
#include "migration/dialogue.h"
#include "outgoing/link-test.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- between a measurement and a real listener ---- */

struct asker {
    struct scene *scene;
    struct ratelimit *total;
    struct link_test result;
    int r;
    struct mig_error err;
    void (*act)(struct asker *a); /* instead of a measurement */
};

static void quit(void *userdata)
{
    loop_exit(((struct scene *)userdata)->loop, 0);
}

static void *ask(void *userdata)
{
    struct asker *a = userdata;
    if (a->act)
        a->act(a);
    else
        a->r = outgoing_link_test(&a->result, NULL, a->scene->address, a->total, -1, &a->err);
    loop_post(a->scene->loop, quit, a->scene);
    return NULL;
}

static void go(struct asker *a, bool tcp)
{
    struct scene s;
    pthread_t thread;
    make_scene(&s, 1);
    s.tcp = tcp;
    scene_listen(&s);
    a->scene = &s;
    assert_int_equal(pthread_create(&thread, NULL, ask, a), 0);
    loop_run(s.loop);
    pthread_join(thread, NULL);
    assert_true(side_runs_whole(&s.source, 1));
    end_scene(&s);
    if (a->r < 0)
        fail_msg("%s", a->err.message);
}

static void test_measures(void **state)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        struct asker a = {0};
        go(&a, tcp);
        const struct link_test *t = &a.result;
        for (size_t i = 0; i < t->nsteps; i++)
            print_message("# %s, %u connections: %llu MB/s\n", t->kind, t->steps[i].connections,
                          (unsigned long long)t->steps[i].bytes_per_sec / 1000000);
        assert_string_equal(t->kind, tcp ? "tcp" : "unix");
        assert_string_equal(t->cipher, "");
        assert_true(t->nsteps >= 2 && t->nsteps <= LINK_TEST_STEPS_MAX && t->best < t->nsteps);
        assert_true(t->steps[t->best].bytes_per_sec > 1000000 && t->steps[0].sender_cpu_usec > 0 &&
                    t->steps[0].receiver_cpu_usec > 0);
        assert_int_equal(t->steps[1].connections, 2);
        assert_true(t->round_trip_usec > 0 && t->round_trip_usec < 30 * USEC_PER_SEC);
        assert_true(!tcp == (t->loaded_rtt_usec == 0));
    }
}

/* What all migrations may take is not exceeded by looking how much there is. */
static void test_cap_holds(void **state)
{
    struct asker a = {0};
    assert_int_equal(ratelimit_new(&a.total, 20000000), 0);
    go(&a, false);
    const struct link_test_step *best = &a.result.steps[a.result.best];
    print_message("# %llu bytes/s\n", (unsigned long long)best->bytes_per_sec);
    assert_true(best->bytes_per_sec > 8000000 && best->bytes_per_sec < 23000000);
    assert_int_equal(best->connections, 1);
    assert_int_equal(a.result.cap_bytes_per_sec, 20000000);
    ratelimit_free(a.total);
}

/* ---- peers that misuse it ---- */

static struct channel *hello(struct asker *a, const char *text, struct frame_stream *s,
                             struct json_object **ret_answer)
{
    struct channel *c;
    struct json_object *o = json_tokener_parse(text);
    assert_non_null(o);
    assert_int_equal(channel_connect(&c, a->scene->address, USEC_PER_SEC, -1, NULL), 0);
    frame_stream_init(s, c, false);
    assert_int_equal(dialogue_hello_raw(s, o, ret_answer, NULL), 0);
    json_object_put(o);
    return c;
}

static void refused(struct asker *a, const char *text, const char *word)
{
    struct frame_stream s;
    struct json_object *answer;
    const char *error;
    struct channel *c = hello(a, text, &s, &answer);
    assert_int_equal(json_get_string(answer, "error", &error), 0);
    assert_string_equal(error, word);
    json_object_put(answer);
    channel_free(c);
}

static struct channel *accepted(struct asker *a, const char *token, struct frame_stream *s)
{
    char text[128];
    struct json_object *answer;
    snprintf(text, sizeof text, "{\"probe\":true,\"token\":\"%s\"}", token);
    struct channel *c = hello(a, text, s, &answer);
    assert_true(json_bool_or(answer, "ok", false));
    assert_int_equal(json_u64_or(answer, "probe-seconds", 0), PROBE_MAX_USEC / USEC_PER_SEC);
    json_object_put(answer);
    return c;
}

/* Nothing comes back but the end of the connection. */
static void hung_up(struct channel *c)
{
    uint8_t byte;
    struct iovec iov = {&byte, 1};
    assert_true(c->ops->recvv(c, &iov, 1) < 0);
    channel_free(c);
}

static void result_of(struct frame_stream *s, uint64_t bytes)
{
    static const char *const names[] = {"probe-result", NULL};
    const struct dialogue_expect expect = {.names = names, .timeout_usec = USEC_PER_SEC, .what = "a result"};
    struct json_object *o;
    int name;
    assert_int_equal(dialogue_send(s, "probe-end", NULL, NULL), 0);
    assert_int_equal(dialogue_receive(s, &expect, &name, &o, NULL, NULL), 0);
    assert_int_equal(json_u64_or(o, "bytes", 1), bytes);
    assert_true((json_u64_or(o, "usec", 0) > 0) == (bytes > 0));
    json_object_put(o);
}

static void send_probe(struct frame_stream *s, size_t size)
{
    static uint8_t bytes[100000];
    struct wire_header h = {.type = WIRE_PROBE, .length = size};
    struct iovec iov = {bytes, size};
    assert_int_equal(frame_send(s, &h, &iov, 1), 0);
}

static void misuse(struct asker *a)
{
    struct frame_stream s;
    struct channel *c;
    refused(a, "{\"probe\":true}", "PeerProtocol");
    refused(a, "{\"probe\":1,\"token\":\"0123456789abcdef\"}", "PeerProtocol");
    refused(a, "{\"probe\":false,\"token\":\"0123456789abcdef\"}", "PeerProtocol");
    refused(a, "{\"probe\":true,\"token\":\"short\"}", "PeerProtocol");
    refused(
        a, "{\"probe\":true,\"token\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\"}",
        "PeerProtocol");
    /* Counts are of what came since the result before. */
    c = accepted(a, "0123456789abcdef", &s);
    result_of(&s, 0);
    send_probe(&s, 100000);
    send_probe(&s, 1);
    result_of(&s, 100001);
    result_of(&s, 0);
    channel_free(c);
    /* Anything else ends it: pages, messages of a migration, what is too large. */
    struct wire_header fence = {.type = WIRE_FENCE};
    c = accepted(a, "0123456789abcdef", &s);
    assert_int_equal(frame_send(&s, &fence, NULL, 0), 0);
    hung_up(c);
    c = accepted(a, "0123456789abcdef", &s);
    assert_int_equal(dialogue_send(&s, "commit", NULL, NULL), 0);
    hung_up(c);
    c = accepted(a, "0123456789abcdef", &s);
    struct wire_header large = {.magic = htole32(WIRE_MAGIC),
                                .version = WIRE_VERSION,
                                .type = WIRE_PROBE,
                                .length = htole64(UINT64_C(1) << 40),
                                .sequence = htole64(1)};
    large.header_checksum = htole64(XXH3_64bits(&large, offsetof(struct wire_header, header_checksum)));
    struct iovec iov = {&large, sizeof large};
    assert_int_equal(c->ops->sendv(c, &iov, 1), 0);
    hung_up(c);
}

static void test_misuse(void **state)
{
    struct asker a = {.act = misuse};
    go(&a, false);
}

/* So many measurements with so many connections each; whoever has the right token is not let in to more. */
static void crowd(struct asker *a)
{
    struct channel *all[PROBES_MAX * WIRE_PROBE_STREAMS_MAX];
    struct frame_stream s;
    for (unsigned i = 0; i < ELEMENTS(all); i++) {
        char token[32];
        snprintf(token, sizeof token, "0123456789abcde%u", i / WIRE_PROBE_STREAMS_MAX);
        all[i] = accepted(a, token, &s);
    }
    refused(a, "{\"probe\":true,\"token\":\"0123456789abcde0\"}", "Busy");
    refused(a, "{\"probe\":true,\"token\":\"fedcba9876543210\"}", "Busy");
    for (unsigned i = 0; i < ELEMENTS(all); i++)
        channel_free(all[i]);
    for (int i = 0;; i++) { /* until the threads have seen it */
        struct json_object *answer;
        struct channel *c = hello(a, "{\"probe\":true,\"token\":\"fedcba9876543210\"}", &s, &answer);
        bool ok = json_bool_or(answer, "ok", false);
        json_object_put(answer);
        channel_free(c);
        if (ok)
            break;
        assert_true(i < 300);
        usleep(10000);
    }
}

static void test_crowd(void **state)
{
    struct asker a = {.act = crowd};
    go(&a, false);
}

/* ---- destinations that lie ---- */

struct lie {
    const char *hello;  /* the answer to HELLO; NULL: a good one */
    const char *result; /* JSON for every probe-end but the honest ones; NULL: the connection is closed */
    unsigned honest;    /* so many results come first that are right */
    bool silent;        /* nothing comes in the place of result */
    enum mig_error_code code;
    const char *words;
};

struct liar {
    const struct lie *lie;
    int listen_fd;
};

static int say(struct frame_stream *s, enum wire_type type, const char *text)
{
    struct json_object *o = json_tokener_parse(text);
    assert_non_null(o);
    int r = frame_send_json(s, type, o, NULL);
    json_object_put(o);
    return r;
}

static void answer_results(const struct lie *lie, struct frame_stream *s)
{
    static uint8_t scratch[1 << 20];
    unsigned honest = lie->honest;
    for (uint64_t bytes = 0;;) {
        struct wire_header h;
        if (frame_recv(s, &h, NULL) < 0)
            return;
        struct iovec iov = {scratch, MIN(h.length, (uint64_t)sizeof scratch)};
        if (frame_recv_payload(s, &h, &iov, 1, NULL) < 0)
            return;
        if (h.type == WIRE_PROBE) {
            bytes += h.length;
            continue;
        }
        char right[128];
        snprintf(right, sizeof right,
                 "{\"message\":\"probe-result\",\"bytes\":%llu,\"usec\":300000,\"cpu-usec\":1}",
                 (unsigned long long)bytes);
        bytes = 0;
        if (honest == 0 && lie->silent)
            continue;
        if ((honest == 0 && !lie->result) || say(s, WIRE_MESSAGE, honest ? right : lie->result) < 0)
            return;
        honest -= honest > 0;
    }
}

static void *liar_thread(void *userdata)
{
    struct liar *l = userdata;
    struct channel *c;
    struct frame_stream s;
    struct wire_header h;
    struct json_object *hello = NULL;
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(channel_from_socket(&c, fd, "the source", -1), 0);
    frame_stream_init(&s, c, false);
    assert_int_equal(frame_recv(&s, &h, NULL), 0);
    assert_int_equal(frame_recv_json(&s, &h, &hello, NULL), 0);
    assert_true(json_bool_or(hello, "probe", false));
    json_object_put(hello);
    say(&s, WIRE_HELLO, l->lie->hello ? l->lie->hello : "{\"ok\":true,\"probe-seconds\":15}");
    answer_results(l->lie, &s);
    channel_free(c);
    return NULL;
}

static const struct lie lies[] = {
    {.hello = "{\"error\":\"PeerProtocol\",\"text\":\"HELLO is neither a migration nor belongs to one\"}",
     .code = MIG_ERR_NOT_SUPPORTED,
     .words = "too old"},
    {.hello = "{\"error\":\"Busy\",\"text\":\"too \\u001b[5m much\"}",
     .code = MIG_ERR_BUSY,
     .words = "too ?[5m"},
    {.hello = "{\"error\":17}", .code = MIG_ERR_PEER_REFUSED, .words = "no reason given"},
    {.hello = "{}", .code = MIG_ERR_PEER_PROTOCOL, .words = "neither yes nor no"},
    {.hello = "{\"ok\":false}", .code = MIG_ERR_PEER_PROTOCOL, .words = "neither yes nor no"},
    {.result = NULL, .code = MIG_ERR_PEER_LOST, .words = "broke"},
    {.result = "{\"message\":\"probe-result\"}", .code = MIG_ERR_PEER_PROTOCOL, .words = "makes no sense"},
    {.result = "{\"message\":\"probe-result\",\"bytes\":\"0\",\"usec\":1,\"cpu-usec\":1}",
     .code = MIG_ERR_PEER_PROTOCOL,
     .words = "makes no sense"},
    {.result = "{\"message\":\"probe-result\",\"bytes\":1,\"usec\":1,\"cpu-usec\":1}",
     .code = MIG_ERR_PEER_PROTOCOL,
     .words = "makes no sense"},
    {.result = "{\"message\":\"probe-result\",\"bytes\":0,\"usec\":-1,\"cpu-usec\":1}",
     .code = MIG_ERR_PEER_PROTOCOL,
     .words = "makes no sense"},
    {.result = "{\"message\":\"probe-result\",\"bytes\":0,\"usec\":99000000,\"cpu-usec\":1}",
     .code = MIG_ERR_PEER_PROTOCOL,
     .words = "makes no sense"},
    {.result = "{\"message\":\"prepared\"}", .code = MIG_ERR_PEER_PROTOCOL, .words = "prepared"},
    {.result = "{\"message\":\"abort\",\"error\":\"NoMemory\",\"text\":\"enough\"}",
     .code = MIG_ERR_NO_MEMORY,
     .words = "enough"},
    /* Later, when threads send: nothing in no time at all, and all of it in none. */
    {.honest = 5,
     .result = "{\"message\":\"probe-result\",\"bytes\":65536,\"usec\":0,\"cpu-usec\":0}",
     .code = MIG_ERR_PEER_PROTOCOL,
     .words = "makes no sense"},
    {.honest = 5,
     .result = "{\"message\":\"probe-result\",\"bytes\":18446744073709551615,\"usec\":1,\"cpu-usec\":0}",
     .code = MIG_ERR_PEER_PROTOCOL,
     .words = "makes no sense"},
    {.honest = 5, .result = NULL, .code = MIG_ERR_PEER_LOST, .words = "broke"},
};

static void listen_at(struct liar *l, char *address, size_t size)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof sun.sun_path, "/tmp/test-link-test-%d", (int)getpid());
    snprintf(address, size, "unix:%s", sun.sun_path);
    unlink(sun.sun_path);
    l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->listen_fd, (struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(listen(l->listen_fd, 4), 0);
}

static int measure_liar(const struct lie *lie, int cancel_fd, struct mig_error *err)
{
    char address[128];
    struct liar l = {.lie = lie};
    struct link_test t, before;
    pthread_t thread;
    memset(&t, 7, sizeof t);
    before = t;
    listen_at(&l, address, sizeof address);
    assert_int_equal(pthread_create(&thread, NULL, liar_thread, &l), 0);
    int r = outgoing_link_test(&t, NULL, address, NULL, cancel_fd, err);
    pthread_join(thread, NULL);
    close_fd(&l.listen_fd);
    unlink(address + strlen("unix:"));
    if (r < 0)
        assert_memory_equal(&t, &before, sizeof t);
    return r;
}

static void test_lies(void **state)
{
    for (size_t i = 0; i < ELEMENTS(lies); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        int r = measure_liar(&lies[i], -1, &err);
        if (r >= 0 || err.code != lies[i].code || !strstr(err.message, lies[i].words))
            fail_msg("lie %zu: %d, code %d: %s", i, r, err.code, err.message);
    }
}

static void *cancel_soon(void *userdata)
{
    usleep(300000);
    eventfd_write(*(int *)userdata, 1);
    return NULL;
}

/* Whether one question is open or threads wait for theirs. */
static void test_cancel(void **state)
{
    for (unsigned honest = 0; honest <= 5; honest += 5) {
        const struct lie lie = {.honest = honest, .silent = true};
        struct mig_error err = MIG_ERROR_INIT;
        int fd = eventfd(0, EFD_CLOEXEC);
        pthread_t thread;
        uint64_t begun = now_usec();
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &fd), 0);
        assert_int_equal(measure_liar(&lie, fd, &err), -ECANCELED);
        assert_int_equal(err.code, MIG_ERR_CANCELLED);
        assert_true(now_usec() - begun < 30 * USEC_PER_SEC);
        pthread_join(thread, NULL);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measures), cmocka_unit_test(test_cap_holds), cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_crowd),    cmocka_unit_test(test_lies),      cmocka_unit_test(test_cancel),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

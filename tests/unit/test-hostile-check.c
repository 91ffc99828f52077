/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Destinations that answer a check with nonsense, with too much, or not at all: every one is a finding that
 * says so, nothing of it reaches a terminal unfiltered, and nobody waits for ever.
 *
 * The destination is a thread of the test behind a socket of its own; the check is the real one.
 */
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "base/fds.h"
#include "migration/dialogue.h"
#include "migration/findings-json.h"
#include "outgoing/check-peer.h"
#include <ctype.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct answer {
    const char *text;                         /* JSON */
    void (*act)(struct frame_stream *stream); /* instead */
    const char *code, *words;                 /* of the finding that must come of it */
    size_t findings;                          /* how many in all; 0: just that one */
};

struct liar {
    struct scene *scene;
    const struct answer *answer;
    int listen_fd;
    pthread_t thread;
};

static void listen_at(struct liar *l)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", l->scene->address + strlen("unix:"));
    unlink(sun.sun_path);
    l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->listen_fd, (struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(listen(l->listen_fd, 4), 0);
}

static void wait_for_hang_up(struct channel *c)
{
    uint8_t byte;
    while (fd_wait(c->fd, POLLIN, -1, deadline_in(15 * USEC_PER_SEC)) > 0 && recv(c->fd, &byte, 1, 0) > 0)
        ;
}

static void *liar_thread(void *userdata)
{
    struct liar *l = userdata;
    struct channel *c;
    struct frame_stream s;
    struct wire_header h;
    struct json_object *hello = NULL;
    bool check = false;
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(channel_from_socket(&c, fd, "the source", -1), 0);
    frame_stream_init(&s, c, false);
    assert_int_equal(frame_recv(&s, &h, NULL), 0);
    assert_int_equal(frame_recv_json(&s, &h, &hello, NULL), 0);
    assert_true(json_get_bool(hello, "check", &check) == 0 && check);
    assert_false(json_object_object_get_ex(hello, "migration", NULL));
    json_object_put(hello);
    if (l->answer->text) {
        struct json_object *o = json_tokener_parse(l->answer->text);
        assert_non_null(o);
        frame_send_json(&s, WIRE_HELLO, o, NULL);
        json_object_put(o);
        wait_for_hang_up(c);
    } else {
        l->answer->act(&s);
    }
    channel_free(c);
    return NULL;
}

static void check_printable(const char *text, size_t size)
{
    assert_true(strlen(text) < size);
    for (; *text; text++)
        assert_false(iscntrl((unsigned char)*text));
}

static void hear(struct scene *s, const struct answer *answer)
{
    struct liar l = {.scene = s, .answer = answer};
    struct findings found = {0};
    struct mig_error err = MIG_ERROR_INIT;
    struct migration_options o;
    const struct finding *f = NULL;
    migration_options_init(&o);
    listen_at(&l);
    assert_int_equal(pthread_create(&l.thread, NULL, liar_thread, &l), 0);
    int r = outgoing_check_peer(NULL, s->source.domain, s->address, &o, -1, &found, &err);
    pthread_join(l.thread, NULL);
    close_fd(&l.listen_fd);
    for (size_t i = 0; i < found.count; i++) {
        check_printable(found.items[i].word, sizeof found.items[i].word);
        check_printable(found.items[i].subject, sizeof found.items[i].subject);
        check_printable(found.items[i].message, sizeof found.items[i].message);
        check_printable(found.items[i].remedy, sizeof found.items[i].remedy);
        if (strcmp(found.items[i].word, answer->code) == 0)
            f = &found.items[i];
    }
    if (r < 0 || !f || !strstr(f->message, answer->words) ||
        found.count != (answer->findings ? answer->findings : 1))
        fail_msg("%s: %d \"%s\", %zu findings, the first %s: %s", answer->code, r, err.message, found.count,
                 found.count ? found.items[0].word : "-", found.count ? found.items[0].message : "");
    findings_clear(&found);
}

/* ---- what they do ---- */

static void close_at_once(struct frame_stream *s)
{
}

static void talk_http(struct frame_stream *s)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    (void)!send(s->channel->fd, text, strlen(text), MSG_NOSIGNAL);
    wait_for_hang_up(s->channel);
}

static void say_prepared(struct frame_stream *s)
{
    dialogue_send(s, "prepared", NULL, NULL);
    wait_for_hang_up(s->channel);
}

/* A million of them: more than a message holds, said so in its header. */
static void tell_a_million(struct frame_stream *s)
{
    struct wire_header h = {.magic = htole32(WIRE_MAGIC),
                            .version = WIRE_VERSION,
                            .type = WIRE_HELLO,
                            .length = htole64(60000000)};
    h.header_checksum = htole64(XXH3_64bits(&h, offsetof(struct wire_header, header_checksum)));
    (void)!send(s->channel->fd, &h, sizeof h, MSG_NOSIGNAL);
    char some[4096];
    memset(some, ' ', sizeof some);
    while (send(s->channel->fd, some, sizeof some, MSG_NOSIGNAL) > 0)
        ;
}

/* As many as a message holds, each of them well-formed. */
static void tell_many(struct frame_stream *s)
{
    struct json_object *o = json_object_new_object(), *array = json_object_new_array();
    for (int i = 0; i < 2000; i++) {
        struct json_object *item = json_object_new_object();
        char subject[16];
        snprintf(subject, sizeof subject, "%d", i);
        json_add_string(item, "code", "x");
        json_add_string(item, "severity", "error");
        json_add_string(item, "subject", subject);
        json_add_string(item, "message", "m");
        json_add_string(item, "remedy", "r");
        json_object_array_add(array, item);
    }
    json_add_bool(o, "ok", true);
    json_add(o, "findings", array);
    assert_int_equal(frame_send_json(s, WIRE_HELLO, o, NULL), 0);
    json_object_put(o);
    wait_for_hang_up(s->channel);
}

static void tell_long(struct frame_stream *s)
{
    char text[20000];
    struct json_object *o = json_object_new_object(), *array = json_object_new_array(),
                       *item = json_object_new_object();
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    static const char *const keys[] = {"code", "subject", "message", "remedy"};
    for (size_t i = 0; i < ELEMENTS(keys); i++)
        json_add_string(item, keys[i], text);
    json_add_string(item, "severity", "note");
    json_object_array_add(array, item);
    json_add_bool(o, "ok", true);
    json_add(o, "findings", array);
    assert_int_equal(frame_send_json(s, WIRE_HELLO, o, NULL), 0);
    json_object_put(o);
    wait_for_hang_up(s->channel);
}

static void say_nothing(struct frame_stream *s)
{
    wait_for_hang_up(s->channel);
}

#define ONE(code, severity, message)                                                                         \
    "{\"ok\":true,\"findings\":[{\"code\":" code ",\"severity\":" severity                                   \
    ",\"subject\":\"\",\"message\":" message ",\"remedy\":\"\"}]}"
#define BREAKS "peer-breaks-protocol"

static const struct answer answers[] = {
    {.act = close_at_once, .code = "peer-no-answer", .words = "broke while waiting"},
    {.act = talk_http, .code = BREAKS, .words = "does not begin its frame"},
    {.act = say_prepared, .code = BREAKS, .words = "answered HELLO with a frame of type"},
    {.act = tell_a_million, .code = BREAKS, .words = "too long"},
    {.act = tell_many, .code = "peer-findings-cut", .words = "1800 more", .findings = FINDINGS_TOLD_MAX + 1},
    {.act = tell_long, .code = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", .words = "yyyy"},
    {"{}", NULL, BREAKS, "neither yes nor no", 0},
    {"{\"ok\":1,\"findings\":[]}", NULL, BREAKS, "neither yes nor no", 0},
    {"{\"ok\":false,\"findings\":[]}", NULL, BREAKS, "neither yes nor no", 0},
    {"{\"ok\":true}", NULL, BREAKS, "list of findings", 0},
    {"{\"ok\":true,\"findings\":17}", NULL, BREAKS, "list of findings", 0},
    {"{\"ok\":true,\"findings\":[],\"findings-left-out\":-1}", NULL, BREAKS, "list of findings", 0},
    {"{\"ok\":true,\"findings\":[],\"findings-left-out\":9}", NULL, "peer-findings-cut", "9 more", 0},
    {"{\"ok\":true,\"findings\":[17]}", NULL, BREAKS, "finding 1 cannot be read", 0},
    {"{\"ok\":true,\"findings\":[null]}", NULL, BREAKS, "finding 1 cannot be read", 0},
    {"{\"ok\":true,\"findings\":[{\"code\":\"x\"}]}", NULL, BREAKS, "finding 1 cannot be read", 0},
    {ONE("17", "\"note\"", "\"m\""), NULL, BREAKS, "finding 1", 0},
    {ONE("\"\"", "\"note\"", "\"m\""), NULL, BREAKS, "finding 1", 0},
    {ONE("\"x\"", "\"fatal\"", "\"m\""), NULL, BREAKS, "finding 1", 0},
    {ONE("\"x\"", "\"note\"", "\"\""), NULL, BREAKS, "finding 1", 0},
    {ONE("\"x\"", "\"note\"", "[]"), NULL, BREAKS, "finding 1", 0},
    {ONE("\"x\"", "\"note\"", "\"a\\u0000b\""), NULL, BREAKS, "finding 1", 0},
    {ONE("\"x\\u001b[2J\"", "\"error\"", "\"red \\u001b[31m\\r\\n\\u009b1m\""), NULL, "x?[2J",
     "red ?[31m????1m", 0},
    {ONE("\"from-a-newer-peer\"", "\"warning\"", "\"new\""), NULL, "from-a-newer-peer", "new", 0},
    /* What today's migd says to a question that it does not know. */
    {"{\"error\":\"PeerProtocol\",\"text\":\"HELLO is neither a migration nor belongs to "
     "one\",\"hint\":\"\"}",
     NULL, "peer-too-old", "does not know the question", 0},
    {"{\"error\":\"Busy\",\"text\":\"too \\u001b[5m much\",\"hint\":\"wait\\nhere\"}", NULL, "peer-refuses",
     "too ?[5m much", 0},
    {"{\"error\":\"Cancelled\",\"text\":\"no\"}", NULL, "peer-refuses", "no", 0},
    {"{\"error\":17}", NULL, "peer-refuses", "no reason given", 0},
    {.act = say_nothing, .code = "peer-no-answer", .words = "within 10 s"},
};

static void test_answers(void **state)
{
    struct scene s;
    make_scene(&s, 1);
    for (size_t i = 0; i < ELEMENTS(answers); i++)
        hear(&s, &answers[i]);
    assert_true(side_runs_whole(&s.source, 1));
    end_scene(&s);
}

/* ---- the form in which findings travel ---- */

static void test_there_and_back(void **state)
{
    struct findings f = {0}, back = {0};
    struct json_object *o = json_object_new_object();
    findings_add(&f, FINDING_VERSION_DIFFERS, "", NULL, "a note");
    findings_add(&f, FINDING_MEMORY_MISSING, "ram", "do that", "an \"error\" with \\ and \x1b and \xff");
    assert_int_equal(findings_tell(&f, o), 0);
    assert_false(json_object_object_get_ex(o, "findings-left-out", NULL));
    assert_int_equal(findings_hear(o, &back, NULL), 0);
    assert_int_equal(back.count, 2);
    assert_int_equal(back.items[0].code, FINDING_MEMORY_MISSING); /* errors first */
    assert_string_equal(back.items[0].message, "an \"error\" with \\ and ? and ?");
    assert_string_equal(back.items[0].subject, "ram");
    assert_string_equal(back.items[0].remedy, "do that");
    assert_true(back.items[0].destination && back.items[1].destination);
    assert_int_equal(back.items[1].severity, FINDING_NOTE);
    json_object_put(o);
    findings_clear(&f);
    findings_clear(&back);
}

/* However many there are, and however long: a message holds them. */
static void test_too_many_to_tell(void **state)
{
    struct findings f = {0}, back = {0};
    struct json_object *o = json_object_new_object();
    struct finding item = {.code = FINDING_MEMORY_LOW, .severity = FINDING_WARNING};
    size_t bytes;
    memset(item.message, '"', sizeof item.message - 1);
    memset(item.remedy, '/', sizeof item.remedy - 1);
    memset(item.word, '\\', sizeof item.word - 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(item.subject, sizeof item.subject, "%d", i);
        assert_int_equal(findings_add_item(&f, &item), 0);
    }
    findings_add(&f, FINDING_MEMORY_MISSING, "ram", NULL, "the last is an error");
    assert_int_equal(findings_tell(&f, o), 0);
    assert_non_null(json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &bytes));
    assert_true(bytes < WIRE_JSON_MAX_BYTES - 1000);
    assert_int_equal(findings_hear(o, &back, NULL), 0);
    assert_int_equal(back.items[0].code, FINDING_MEMORY_MISSING);
    assert_string_equal(back.items[back.count - 1].word, "peer-findings-cut");
    json_object_put(o);
    findings_clear(&f);
    findings_clear(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_too_many_to_tell),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

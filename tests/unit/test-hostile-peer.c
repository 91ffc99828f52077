/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A peer that says the wrong thing at every step, and one that says nothing. Afterwards the domain waits for
 * the next, nothing runs, and neither a descriptor nor a thread is left.
 *
 * The peer is a thread of the test with sockets of its own; the daemon's side is the real listener on the
 * loop of the test's main thread.
 */
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "base/fds.h"
#include "migration/dialogue.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define PAGES     (MEMORY_BYTES / REGION_PAGE_SIZE)
#define TOKEN     "00112233445566778899aabbccddeeff"
#define STEP_USEC UINT64_C(5000000)

struct line { /* one connection of the peer */
    struct channel *channel;
    struct frame_stream stream;
};

struct peer {
    struct scene *scene;
    const struct attack *attack;
    char id[40];
    struct line control, pages, state;
    pthread_t thread;
    bool done, resolve_drop;
};

struct attack {
    const char *name;
    void (*run)(struct peer *p);
    bool doubtful; /* ends in doubt; the operator drops it */
};

/* ---- what a peer can do ---- */

static int raw_socket(struct peer *p)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", p->scene->address + strlen("unix:"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof sun) == 0 ? fd : -1;
}

static bool dial(struct peer *p, struct line *l)
{
    if (channel_connect(&l->channel, p->scene->address, STEP_USEC, -1, NULL) < 0)
        return false;
    frame_stream_init(&l->stream, l->channel, true);
    return true;
}

static void hang_up(struct line *l)
{
    l->channel = channel_free(l->channel);
}

static struct json_object *make_hello(struct peer *p)
{
    char text[1000];
    snprintf(text, sizeof text,
             "{\"migration\":\"%s\",\"domain\":\"dom\",\"protocol\":1,\"protocol-oldest\":1,"
             "\"version\":\"0\",\"page-size\":4096,\"connections\":1,\"vmm-state\":true,\"verify\":\"off\","
             "\"token\":\"%s\",\"decision-address\":\"unix:%s/nobody\","
             "\"regions\":[{\"name\":\"ram\",\"size\":%llu}],"
             "\"devices\":[{\"name\":\"dev0\",\"kind\":\"fake\",\"migration-flags\":7,\"vendor\":0,"
             "\"device\":0,\"subsystem-vendor\":0,\"subsystem-device\":0,\"revision\":0,\"regions\":0,"
             "\"irqs\":0}]}",
             p->id, TOKEN, p->scene->dir, (unsigned long long)MEMORY_BYTES);
    return json_tokener_parse(text);
}

/* Sends HELLO and reads the answer. True when it was accepted. */
static bool say_hello(struct line *l, struct json_object *hello)
{
    struct json_object *answer = NULL;
    int r = dialogue_hello(&l->stream, hello, &answer, NULL);
    json_object_put(hello);
    json_object_put(answer);
    return r == 0;
}

static bool greet(struct peer *p)
{
    return dial(p, &p->control) && say_hello(&p->control, make_hello(p));
}

static bool attach_as(struct peer *p, struct line *l, const char *token, const char *role, const char *index)
{
    char text[300];
    snprintf(text, sizeof text, "{\"attach\":\"%s\",\"token\":\"%s\",\"role\":\"%s\",\"index\":%s}", p->id,
             token, role, index);
    return dial(p, l) && say_hello(l, json_tokener_parse(text));
}

/* Accepted, with all its connections. */
static bool come_in(struct peer *p)
{
    return greet(p) && attach_as(p, &p->pages, TOKEN, "pages", "0") &&
           attach_as(p, &p->state, TOKEN, "state", "0");
}

static void send_frame(struct line *l, struct wire_header h, const void *payload, size_t size)
{
    struct iovec iov = {(void *)payload, size};
    h.length = size;
    frame_send(&l->stream, &h, &iov, size ? 1 : 0);
}

static void say(struct line *l, const char *word)
{
    dialogue_send(&l->stream, word, NULL, NULL);
}

static bool hear(struct line *l, const char *word)
{
    const char *const names[] = {word, NULL};
    const struct dialogue_expect expect = {.names = names, .timeout_usec = STEP_USEC, .what = word};
    struct json_object *o = NULL;
    int name, r = dialogue_receive(&l->stream, &expect, &name, &o, NULL, NULL);
    json_object_put(o);
    return r == 0;
}

static void send_page(struct peer *p)
{
    static const uint8_t page[REGION_PAGE_SIZE] = {1, 2, 3};
    send_frame(&p->pages, (struct wire_header){.type = WIRE_PAGES}, page, sizeof page);
}

static bool fence(struct peer *p, uint32_t round)
{
    send_frame(&p->pages, (struct wire_header){.type = WIRE_FENCE, .round = round}, NULL, 0);
    return hear(&p->control, "fence");
}

static void end_state(struct peer *p, uint32_t index, uint64_t bytes, XXH64_hash_t digest)
{
    uint64_t wire = htole64(digest);
    send_frame(&p->state, (struct wire_header){.type = WIRE_STATE_END, .region = index, .offset = bytes},
               &wire, sizeof wire);
}

static void send_state(struct peer *p)
{
    uint8_t *bytes = malloc(STATE_BYTES);
    for (uint32_t i = 0; i < STATE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7);
    send_frame(&p->state, (struct wire_header){.type = WIRE_STATE}, bytes, STATE_BYTES);
    end_state(p, 0, STATE_BYTES, XXH3_64bits(bytes, STATE_BYTES));
    send_frame(&p->state, (struct wire_header){.type = WIRE_STATE, .region = WIRE_STATE_VMM}, "vmm", 3);
    end_state(p, WIRE_STATE_VMM, 3, XXH3_64bits("vmm", 3));
    free(bytes);
}

static bool get_prepared(struct peer *p)
{
    if (!come_in(p))
        return false;
    send_page(p);
    if (!fence(p, 0))
        return false;
    send_state(p);
    say(&p->control, "prepare");
    return hear(&p->control, "prepared");
}

/* The daemon's side ends what it does not like: until then, or for a while. */
static void wait_for_end(struct line *l)
{
    uint8_t buf[4096];
    uint64_t deadline = deadline_in(STEP_USEC);
    while (l->channel && fd_wait(l->channel->fd, POLLIN, -1, deadline) > 0 &&
           recv(l->channel->fd, buf, sizeof buf, 0) > 0)
        ;
}

/* ---- attacks before the migration exists ---- */

static void attack_garbage(struct peer *p)
{
    int fd = raw_socket(p);
    uint8_t noise[4096];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 31 + 7);
    (void)!send(fd, noise, sizeof noise, MSG_NOSIGNAL);
    uint8_t byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close_fd(&fd);
}

static void attack_silence(struct peer *p)
{
    int fd[3];
    for (size_t i = 0; i < ELEMENTS(fd); i++)
        fd[i] = raw_socket(p);
    (void)!send(fd[1], "M", 1, MSG_NOSIGNAL); /* and goes in the middle of a header */
    for (size_t i = 0; i < ELEMENTS(fd); i++)
        close_fd(&fd[i]);
}

static void attack_oversize_text(struct peer *p)
{
    struct {
        struct wire_header h;
        uint8_t rest[4096];
    } m = {.h = {.magic = htole32(WIRE_MAGIC),
                 .version = WIRE_VERSION,
                 .type = WIRE_HELLO,
                 .length = htole64(WIRE_JSON_MAX_BYTES + 1)}};
    m.h.header_checksum = htole64(XXH3_64bits(&m.h, offsetof(struct wire_header, header_checksum)));
    int fd = raw_socket(p);
    (void)!send(fd, &m, sizeof m, MSG_NOSIGNAL);
    uint8_t byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close_fd(&fd);
}

static void attack_no_hello(struct peer *p)
{
    assert_true(dial(p, &p->control));
    say(&p->control, "prepare");
    wait_for_end(&p->control);
}

static void attack_hello_without(struct peer *p, const char *key)
{
    struct json_object *hello = make_hello(p);
    json_object_object_del(hello, key);
    assert_true(dial(p, &p->control));
    assert_false(say_hello(&p->control, hello));
    hang_up(&p->control);
}

static void attack_hello_incomplete(struct peer *p)
{
    static const char *const keys[] = {"migration",        "domain",  "protocol",   "protocol-oldest",
                                       "page-size",        "regions", "vmm-state",  "token",
                                       "decision-address", "devices", "connections"};
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        p->id[0] = (char)('0' + i % 10); /* the one before may not be forgotten yet */
        p->id[1] = (char)('0' + i / 10);
        attack_hello_without(p, keys[i]);
        /* Its session, if there was one, ends on its own time. */
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

static void attack_hello_with(struct peer *p, const char *key, const char *value)
{
    struct json_object *hello = make_hello(p);
    json_object_object_del(hello, key);
    json_object_object_add(hello, key, json_tokener_parse(value));
    assert_true(dial(p, &p->control));
    assert_false(say_hello(&p->control, hello));
    hang_up(&p->control);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    p->id[0] = p->id[0] == '9' ? 'a' : (char)(p->id[0] + 1);
}

static void attack_hello_absurd(struct peer *p)
{
    attack_hello_with(p, "regions", "[null]");
    attack_hello_with(p, "regions", "[[[[1]]]]");
    attack_hello_with(p, "regions", "[{\"name\":\"ram\",\"size\":-1}]");
    attack_hello_with(p, "regions", "[{\"name\":\"ram\",\"size\":18446744073709551615}]");
    attack_hello_with(p, "devices", "[{\"name\":{}}]");
    attack_hello_with(p, "devices", "[17]");
    attack_hello_with(p, "connections", "0");
    attack_hello_with(p, "protocol", "0");
    attack_hello_with(p, "migration", "\"../../../../etc/passwd\"");
    attack_hello_with(p, "domain", "\"../dom\"");
}

static void attack_questions(struct peer *p)
{
    static const char *const ids[] = {"", "../dom", "0123456789abcdef0123456789abcdef", "x"};
    for (size_t i = 0; i < 2 * ELEMENTS(ids); i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"%s\":\"%s\",\"token\":\"" TOKEN "\"}", i % 2 ? "query" : "outcome",
                 ids[i / 2]);
        assert_true(dial(p, &p->control));
        assert_false(say_hello(&p->control, json_tokener_parse(text)));
        hang_up(&p->control);
    }
}

static void ask_check(struct peer *p, const char *text, bool answered)
{
    struct json_object *hello = json_tokener_parse(text);
    assert_non_null(hello);
    assert_true(dial(p, &p->control));
    assert_int_equal(say_hello(&p->control, hello), answered);
    hang_up(&p->control);
}

/* Checks, good and bad: none of them leaves anything behind. */
static void attack_checks(struct peer *p)
{
    struct json_object *hello = make_hello(p);
    json_object_object_add(hello, "check", json_object_new_boolean(true));
    for (int i = 0; i < 20; i++) /* "migration" in it makes no migration */
        ask_check(p, json_object_to_json_string(hello), true);
    json_object_put(hello);
    ask_check(p, "{\"check\":true}", false);
    ask_check(p, "{\"check\":true,\"domain\":17}", false);
    ask_check(p, "{\"check\":true,\"domain\":\"dom\"}", false);
    ask_check(
        p, "{\"check\":true,\"domain\":\"../dom\",\"protocol\":1,\"protocol-oldest\":1,\"page-size\":4096}",
        true);
    ask_check(p,
              "{\"check\":[],\"domain\":\"dom\",\"protocol\":1,\"protocol-oldest\":1,\"page-size\":4096,"
              "\"regions\":[[[[1]]]],\"devices\":[]}",
              false);
    assert_true(dial(p, &p->control)); /* and one that does not wait for the answer */
    struct json_object *o = json_tokener_parse("{\"check\":true,\"domain\":\"dom\"}");
    frame_send_json(&p->control.stream, WIRE_HELLO, o, NULL);
    json_object_put(o);
}

/* ---- attacks on a migration that was let in ---- */

static void attack_second_hello(struct peer *p)
{
    assert_true(come_in(p));
    assert_false(say_hello(&p->control, make_hello(p)));
}

static void attack_same_id_again(struct peer *p)
{
    assert_true(greet(p));
    assert_true(dial(p, &p->pages));
    assert_false(say_hello(&p->pages, make_hello(p)));
}

static void attack_attach_wrongly(struct peer *p)
{
    static const char *const tries[][3] = {{"ffffffffffffffffffffffffffffffff", "pages", "0"},
                                           {"", "pages", "0"},
                                           {TOKEN, "pages", "1"},
                                           {TOKEN, "pages", "18446744073709551615"},
                                           {TOKEN, "pages", "-1"},
                                           {TOKEN, "state", "1"},
                                           {TOKEN, "control", "0"},
                                           {TOKEN, "pages", "\"0\""}};
    assert_true(greet(p));
    for (size_t i = 0; i < ELEMENTS(tries); i++) {
        assert_false(attach_as(p, &p->pages, tries[i][0], tries[i][1], tries[i][2]));
        hang_up(&p->pages);
    }
}

static void attack_attach_twice(struct peer *p)
{
    struct line again = {0};
    assert_true(come_in(p));
    assert_false(attach_as(p, &again, TOKEN, "pages", "0"));
    hang_up(&again);
    assert_false(attach_as(p, &again, TOKEN, "state", "0"));
    hang_up(&again);
}

static void attack_close_after_hello(struct peer *p)
{
    assert_true(greet(p));
}

static void attack_close_after_attach(struct peer *p)
{
    assert_true(come_in(p));
}

static void attack_close_after_pages(struct peer *p)
{
    assert_true(come_in(p));
    send_page(p);
}

static void attack_close_after_fence(struct peer *p)
{
    assert_true(come_in(p));
    send_page(p);
    assert_true(fence(p, 0));
}

static void attack_close_in_state(struct peer *p)
{
    assert_true(come_in(p));
    send_frame(&p->state, (struct wire_header){.type = WIRE_STATE}, "\0\7", 2);
}

static void attack_prepare_without_state(struct peer *p)
{
    assert_true(come_in(p));
    say(&p->control, "prepare");
    hang_up(&p->state);
    wait_for_end(&p->control);
}

static void bad_page_frame(struct peer *p, struct wire_header h, const void *payload, size_t size)
{
    send_frame(&p->pages, h, payload, size);
    wait_for_end(&p->control);
}

static void attack_page_beyond_the_end(struct peer *p)
{
    static const uint8_t page[REGION_PAGE_SIZE];
    assert_true(come_in(p));
    bad_page_frame(p, (struct wire_header){.type = WIRE_PAGES, .offset = MEMORY_BYTES}, page, sizeof page);
}

static void attack_zero_that_wraps(struct peer *p)
{
    assert_true(come_in(p));
    bad_page_frame(p,
                   (struct wire_header){.type = WIRE_ZERO,
                                        .offset = UINT64_MAX - REGION_PAGE_SIZE + 1,
                                        .payload_checksum = 2 * REGION_PAGE_SIZE},
                   NULL, 0);
}

static void attack_page_of_no_region(struct peer *p)
{
    static const uint8_t page[REGION_PAGE_SIZE];
    assert_true(come_in(p));
    bad_page_frame(p, (struct wire_header){.type = WIRE_PAGES, .region = 1}, page, sizeof page);
}

static void attack_state_among_pages(struct peer *p)
{
    assert_true(come_in(p));
    bad_page_frame(p, (struct wire_header){.type = WIRE_STATE}, "x", 1);
}

static void attack_pages_among_state(struct peer *p)
{
    static const uint8_t page[REGION_PAGE_SIZE];
    assert_true(come_in(p));
    send_frame(&p->state, (struct wire_header){.type = WIRE_PAGES}, page, sizeof page);
    wait_for_end(&p->control);
}

static void attack_state_out_of_order(struct peer *p)
{
    assert_true(come_in(p));
    send_frame(&p->state, (struct wire_header){.type = WIRE_STATE, .offset = 1}, "x", 1);
    wait_for_end(&p->control);
}

static void attack_state_of_no_device(struct peer *p)
{
    assert_true(come_in(p));
    send_frame(&p->state, (struct wire_header){.type = WIRE_STATE, .region = 1}, "x", 1);
    wait_for_end(&p->control);
}

static void attack_state_with_wrong_digest(struct peer *p)
{
    assert_true(come_in(p));
    end_state(p, 0, 0, 1);
    wait_for_end(&p->control);
}

static void attack_state_ends_twice(struct peer *p)
{
    assert_true(come_in(p));
    end_state(p, 0, 0, XXH3_64bits(NULL, 0));
    end_state(p, 0, 0, XXH3_64bits(NULL, 0));
    wait_for_end(&p->control);
}

static void attack_half_a_state(struct peer *p)
{
    assert_true(come_in(p));
    send_frame(&p->state, (struct wire_header){.type = WIRE_STATE}, "\0", 1);
    end_state(p, 0, 1, XXH3_64bits("\0", 1));
    end_state(p, WIRE_STATE_VMM, 0, XXH3_64bits(NULL, 0));
    say(&p->control, "prepare");
    assert_false(hear(&p->control, "prepared"));
}

static void attack_fences_of_no_round(struct peer *p)
{
    assert_true(come_in(p));
    fence(p, UINT32_MAX);
    fence(p, 7);
    fence(p, 7);
    fence(p, 0);
}

static void say_and_wait(struct peer *p, const char *word)
{
    assert_true(come_in(p));
    say(&p->control, word);
    wait_for_end(&p->control);
}

static void attack_commit_first(struct peer *p)
{
    say_and_wait(p, "commit");
}

static void attack_verify_first(struct peer *p)
{
    say_and_wait(p, "verify");
}

static void attack_unknown_word(struct peer *p)
{
    say_and_wait(p, "please");
}

static void attack_abort(struct peer *p)
{
    say_and_wait(p, "abort");
}

static void attack_digests_on_control(struct peer *p)
{
    assert_true(come_in(p));
    send_frame(&p->control, (struct wire_header){.type = WIRE_DIGESTS}, "12345678", 8);
    wait_for_end(&p->control);
}

static void attack_abort_when_prepared(struct peer *p)
{
    assert_true(get_prepared(p));
    say(&p->control, "abort");
    wait_for_end(&p->control);
}

/* ---- and on one that is prepared: nobody may take it for a decision ---- */

static void attack_close_when_prepared(struct peer *p)
{
    assert_true(get_prepared(p));
}

static void attack_prepare_twice(struct peer *p)
{
    assert_true(get_prepared(p));
    say(&p->control, "prepare");
}

static void attack_garbage_when_prepared(struct peer *p)
{
    assert_true(get_prepared(p));
    (void)!send(p->control.channel->fd, TOKEN TOKEN TOKEN, 96, MSG_NOSIGNAL);
}

static const struct attack attacks[] = {
#define A(name)                                                                                              \
    {                                                                                                        \
#name, attack_##name, false                                                                          \
    }
#define AD(name)                                                                                             \
    {                                                                                                        \
#name, attack_##name, true                                                                           \
    }
    A(garbage),
    A(silence),
    A(oversize_text),
    A(no_hello),
    A(hello_incomplete),
    A(hello_absurd),
    A(questions),
    A(checks),
    A(second_hello),
    A(same_id_again),
    A(attach_wrongly),
    A(attach_twice),
    A(close_after_hello),
    A(close_after_attach),
    A(close_after_pages),
    A(close_after_fence),
    A(close_in_state),
    A(prepare_without_state),
    A(page_beyond_the_end),
    A(zero_that_wraps),
    A(page_of_no_region),
    A(state_among_pages),
    A(pages_among_state),
    A(state_out_of_order),
    A(state_of_no_device),
    A(state_with_wrong_digest),
    A(state_ends_twice),
    A(half_a_state),
    A(fences_of_no_round),
    A(commit_first),
    A(verify_first),
    A(unknown_word),
    A(abort),
    A(digests_on_control),
    A(abort_when_prepared),
    AD(close_when_prepared),
    AD(prepare_twice),
    AD(garbage_when_prepared),
};

/* ---- and those that only use up time: the destination has limits of its own ---- */

static bool ends(struct line *l, unsigned msec)
{
    return poll(&(struct pollfd){.fd = l->channel->fd, .events = POLLIN}, 1, (int)msec) > 0;
}

/* A page frame that grows by a byte at a time: never silent, never whole. */
static void attack_trickle(struct peer *p)
{
    struct wire_header h = {.magic = htole32(WIRE_MAGIC),
                            .version = WIRE_VERSION,
                            .type = WIRE_PAGES,
                            .sequence = htole64(1),
                            .length = htole64(REGION_PAGE_SIZE)};
    uint64_t begun = now_usec();
    assert_true(come_in(p));
    h.header_checksum = htole64(XXH3_64bits(&h, offsetof(struct wire_header, header_checksum)));
    assert_int_equal(send(p->pages.channel->fd, &h, sizeof h, MSG_NOSIGNAL), sizeof h);
    while (!ends(&p->control, 20)) {
        assert_true(now_usec() - begun < STEP_USEC);
        (void)!send(p->pages.channel->fd, "", 1, MSG_NOSIGNAL);
    }
    assert_true(now_usec() - begun > 300 * USEC_PER_MSEC);
}

/* The same on control, which its worker reads. */
static void attack_trickle_on_control(struct peer *p)
{
    assert_true(come_in(p));
    for (uint64_t begun = now_usec(); !ends(&p->pages, 100);) {
        static const uint8_t magic[] = {0x4d, 0x49, 0x47, 0x44, 1, 2};
        static size_t at;
        assert_true(now_usec() - begun < STEP_USEC);
        (void)!send(p->control.channel->fd, &magic[MIN(at++, sizeof magic - 1)], 1, MSG_NOSIGNAL);
    }
}

/* It lives, and says so, and does nothing. */
static void attack_only_pings(struct peer *p)
{
    assert_true(come_in(p));
    for (uint64_t begun = now_usec(); !ends(&p->pages, 20);) {
        assert_true(now_usec() - begun < STEP_USEC);
        say(&p->control, "ping");
    }
}

/* Round after round without an end: each is progress, and all of it takes too long. */
static void attack_endless_rounds(struct peer *p)
{
    uint64_t begun = now_usec();
    assert_true(come_in(p));
    for (uint32_t round = 0; fence(p, round); round++)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_true(now_usec() - begun > 1200 * USEC_PER_MSEC);
    assert_true(now_usec() - begun < STEP_USEC);
}

/* ---- the daemon's side ---- */

static void attack_is_over(void *userdata)
{
    struct peer *p = userdata;
    p->done = true;
}

static void *peer_thread(void *userdata)
{
    struct peer *p = userdata;
    p->attack->run(p);
    hang_up(&p->control);
    hang_up(&p->pages);
    hang_up(&p->state);
    assert_int_equal(loop_post(p->scene->loop, attack_is_over, p), 0);
    return NULL;
}

struct watch {
    struct peer *peer;
    struct loop_timer *timer;
    uint64_t deadline_usec;
};

/* Until the peer is done and the domain is at rest again. */
static void look(void *userdata)
{
    struct watch *w = userdata;
    struct scene *s = w->peer->scene;
    struct domain *d = s->destination.domain;
    if (d->state == DOMAIN_STATE_IN_DOUBT && w->peer->done && w->peer->attack->doubtful &&
        !w->peer->resolve_drop) {
        w->peer->resolve_drop = true;
        assert_int_equal(migration_resolve(s->destination.migration, false, NULL), 0);
    }
    bool rests = w->peer->done && d->state == DOMAIN_STATE_WAITING && !d->borrowed;
    if (rests || now_usec() > w->deadline_usec)
        loop_exit(s->loop, 0);
    else
        loop_timer_arm(w->timer, 5000);
}

static void suffer_within(const struct attack *a, struct patience_limits limits)
{
    size_t fds = count_entries("/proc/self/fd"), threads = count_threads_at_rest();
    struct scene s;
    struct peer p = {.scene = &s, .attack = a};
    struct watch w = {.peer = &p, .deadline_usec = deadline_in(30 * USEC_PER_SEC)};
    make_scene(&s, 1);
    s.limits = limits;
    scene_listen(&s);
    snprintf(p.id, sizeof p.id, "%s", SCENE_ID);
    assert_int_equal(loop_timer_new(&w.timer, s.loop, look, &w), 0);
    loop_timer_arm(w.timer, 1000);
    assert_int_equal(pthread_create(&p.thread, NULL, peer_thread, &p), 0);
    loop_run(s.loop);
    pthread_join(p.thread, NULL);
    loop_timer_free(w.timer);
    /* What a greeting that was not waited for has posted meanwhile: the loop would drop it, with its
     * connection. */
    loop_timer_arm(s.patience, 30000);
    loop_run(s.loop);
    if (s.destination.domain->state != DOMAIN_STATE_WAITING || s.destination.domain->borrowed)
        fail_msg("%s: the domain is %s", a->name, domain_state_to_string(s.destination.domain->state));
    if (p.resolve_drop != a->doubtful)
        fail_msg("%s: in doubt: %d", a->name, p.resolve_drop);
    assert_false(side_runs(&s.destination, 1));
    assert_int_equal(scene_record(&s, true), -ENOENT);
    end_scene(&s);
    /* A thread that nobody joins may need a moment after its last word. */
    for (int i = 0; i < 400 && count_entries("/proc/self/task") != threads; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    if (count_entries("/proc/self/fd") != fds || count_entries("/proc/self/task") != threads)
        fail_msg("%s: %zu descriptors and %zu threads, before it were %zu and %zu", a->name,
                 count_entries("/proc/self/fd"), count_entries("/proc/self/task"), fds, threads);
}

static void suffer(const struct attack *a)
{
    suffer_within(a, (struct patience_limits){0});
}

static void test_time_is_limited(void **state)
{
    static const struct attack slow[] = {A(trickle), A(trickle_on_control), A(only_pings), A(endless_rounds)};
    const struct patience_limits limits = {400 * USEC_PER_MSEC, 1500 * USEC_PER_MSEC};
    for (size_t i = 0; i < ELEMENTS(slow); i++) {
        print_message("%s\n", slow[i].name);
        suffer_within(&slow[i], limits);
    }
}

static void test_attacks(void **state)
{
    for (size_t i = 0; i < ELEMENTS(attacks); i++) {
        print_message("%s\n", attacks[i].name);
        suffer(&attacks[i]);
    }
}

/* All places for greetings taken by connections that say nothing, or a byte now and then: who says HELLO gets
 * in at once all the same, in the place of the one that came first, and the others are let go in time. */
static void attack_slow(struct peer *p)
{
    int fd[64];
    uint8_t byte;
    uint64_t begun = now_usec();
    for (size_t i = 0; i < ELEMENTS(fd); i++)
        assert_true((fd[i] = raw_socket(p)) >= 0);
    assert_true(greet(p));
    assert_true(recv(fd[0], &byte, 1, 0) <= 0);
    close_fd(&fd[0]);
    struct pollfd poll_fd = {.fd = fd[1], .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
    static const uint8_t magic[] = {0x4d, 0x49, 0x47, 0x44, 1, 1};
    for (size_t i = 0; poll(&poll_fd, 1, 1500) == 0; i++) {
        assert_true(now_usec() - begun < 14 * USEC_PER_SEC);
        (void)!send(fd[1], i < sizeof magic ? &magic[i] : magic + 5, 1, MSG_NOSIGNAL);
    }
    for (size_t i = 1; i < ELEMENTS(fd); i++) {
        assert_true(recv(fd[i], &byte, 1, 0) <= 0);
        close_fd(&fd[i]);
    }
}

static void test_slow_peers_do_not_keep_others_out(void **state)
{
    static const struct attack slow = {"slow", attack_slow, false};
    suffer(&slow);
}

static void *nothing(void *userdata)
{
    return userdata;
}

/* No descriptor is left for a while: the listener rests meanwhile, and takes the waiting afterwards. */
static void attack_when_descriptors_are_short(struct peer *p)
{
    struct rlimit limit, none;
    struct timespec cpu;
    assert_true(dial(p, &p->control));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    int late = raw_socket(p);
    assert_true(late >= 0);
    close_fd(&late);
    late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", p->scene->address + strlen("unix:"));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(late, (struct sockaddr *)&sun, sizeof sun), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    uint64_t before = (uint64_t)cpu.tv_sec * 1000 + (uint64_t)cpu.tv_nsec / 1000000;
    nanosleep(&(struct timespec){.tv_nsec = 600000000}, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    assert_true((uint64_t)cpu.tv_sec * 1000 + (uint64_t)cpu.tv_nsec / 1000000 - before < 300);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    uint8_t noise[64] = {0}, byte;
    (void)!send(late, noise, sizeof noise, MSG_NOSIGNAL);
    assert_true(recv(late, &byte, 1, 0) <= 0); /* it was accepted after all, and refused */
    close_fd(&late);
    assert_true(say_hello(&p->control, make_hello(p)));
}

static void test_no_descriptors(void **state)
{
    static const struct attack attack = {"no descriptors", attack_when_descriptors_are_short, false};
    suffer(&attack);
}

int main(void)
{
    /* With its first thread a sanitizer starts one of its own: before threads are counted. */
    pthread_t first;
    if (pthread_create(&first, NULL, nothing, NULL) != 0 || pthread_join(first, NULL) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_time_is_limited),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_slow_peers_do_not_keep_others_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A destination that answers wrongly at every step. Before the decision the source runs on whatever it says,
 * with tracking off; after it the source never runs because of a lie, but asks until somebody decides.
 *
 * The destination is a thread of the test behind a socket of its own; the source is the real engine.
 */
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "base/fds.h"
#include "migration/dialogue.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PAGES     (MEMORY_BYTES / REGION_PAGE_SIZE)
#define STEP_USEC UINT64_C(15000000)

struct line {
    struct channel *channel;
    struct frame_stream stream;
};

enum end { END_RUNS_ON, END_DOUBT, END_GIVEN_BACK };

struct liar;
struct lie {
    const char *name;
    void (*run)(struct liar *l);
    enum end end;
    enum verify_mode verify;
};

struct liar {
    struct scene *scene;
    const struct lie *lie;
    int listen_fd;
    struct line control, pages, state;
    pthread_t thread, drain;
    bool draining;
    uint8_t *payload;
    uint32_t round;
    struct loop_timer *timer;
    bool resolved;
};

/* ---- what a destination does ---- */

static void hang_up(struct line *l)
{
    l->channel = channel_free(l->channel);
}

static bool take(struct liar *l, struct line *line)
{
    if (fd_wait(l->listen_fd, POLLIN, -1, deadline_in(STEP_USEC)) < 0)
        return false;
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 || channel_from_socket(&line->channel, fd, "the source", -1) < 0)
        return false;
    frame_stream_init(&line->stream, line->channel, true);
    struct wire_header h;
    struct json_object *hello = NULL;
    bool ok =
        frame_recv(&line->stream, &h, NULL) == 0 && frame_recv_json(&line->stream, &h, &hello, NULL) == 0;
    json_object_put(hello);
    return ok;
}

static void answer(struct line *line, const char *text)
{
    struct json_object *o = json_tokener_parse(text);
    frame_send_json(&line->stream, WIRE_HELLO, o, NULL);
    json_object_put(o);
}

static const char good_answer[] = "{\"ok\":true,\"protocol\":1,\"connections\":1,\"version\":\"0\"}";

static void *drain_state(void *userdata)
{
    struct liar *l = userdata;
    uint8_t buf[4096];
    for (;;) {
        ssize_t n = recv(l->state.channel->fd, buf, sizeof buf, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return NULL;
        if (n < 0)
            fd_wait(l->state.channel->fd, POLLIN, -1, USEC_INFINITY);
    }
}

/* Everything in good order up to the first page. */
static bool let_in_but_state(struct liar *l)
{
    if (!take(l, &l->control))
        return false;
    answer(&l->control, good_answer);
    if (!take(l, &l->pages))
        return false;
    answer(&l->pages, "{\"ok\":true}");
    if (!take(l, &l->state))
        return false;
    answer(&l->state, "{\"ok\":true}");
    l->pages.channel->stall_timeout_usec = STEP_USEC;
    return true;
}

static bool let_in(struct liar *l)
{
    if (!let_in_but_state(l))
        return false;
    l->draining = pthread_create(&l->drain, NULL, drain_state, l) == 0;
    return l->draining;
}

/* The pages of a round, thrown away. */
static bool take_round(struct liar *l)
{
    for (;;) {
        struct wire_header h;
        struct iovec iov = {.iov_base = l->payload};
        if (frame_recv(&l->pages.stream, &h, NULL) < 0)
            return false;
        l->round = h.round;
        if (h.type == WIRE_FENCE)
            return true;
        iov.iov_len = h.length;
        if (h.length && frame_recv_payload(&l->pages.stream, &h, &iov, 1, NULL) < 0)
            return false;
    }
}

static void say_fence(struct liar *l, uint32_t round)
{
    struct json_object *o = json_object_new_object();
    json_add_u64(o, "round", round);
    dialogue_send(&l->control.stream, "fence", o, NULL);
}

static void say(struct liar *l, const char *word)
{
    dialogue_send(&l->control.stream, word, NULL, NULL);
}

/* Answers rounds until the source says something on control: prepare. */
static bool wait_for_prepare(struct liar *l)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = l->pages.channel->fd, .events = POLLIN},
                              {.fd = l->control.channel->fd, .events = POLLIN}};
        if (poll(p, 2, 15000) <= 0)
            return false;
        if (p[0].revents) {
            if (!take_round(l))
                return false;
            say_fence(l, l->round);
            continue;
        }
        static const char *const names[] = {"prepare", NULL};
        const struct dialogue_expect expect = {.names = names, .timeout_usec = STEP_USEC, .what = "prepare"};
        struct json_object *o = NULL;
        int name, r = dialogue_receive(&l->control.stream, &expect, &name, &o, NULL, NULL);
        json_object_put(o);
        return r == 0;
    }
}

static bool hear(struct liar *l, const char *word)
{
    const char *const names[] = {word, NULL};
    const struct dialogue_expect expect = {.names = names, .timeout_usec = STEP_USEC, .what = word};
    struct json_object *o = NULL;
    int name, r = dialogue_receive(&l->control.stream, &expect, &name, &o, NULL, NULL);
    json_object_put(o);
    return r == 0;
}

static bool get_to_commit(struct liar *l)
{
    if (!let_in(l) || !wait_for_prepare(l))
        return false;
    say(l, "prepared");
    return hear(l, "commit");
}

static void wait_for_hang_up(struct line *line)
{
    uint8_t buf[4096];
    uint64_t deadline = deadline_in(STEP_USEC);
    while (fd_wait(line->channel->fd, POLLIN, -1, deadline) > 0 &&
           recv(line->channel->fd, buf, sizeof buf, 0) > 0)
        ;
}

/* ---- lies ---- */

static void lie_closes_at_once(struct liar *l)
{
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    close_fd(&fd);
}

static void lie_garbage(struct liar *l)
{
    assert_true(take(l, &l->control));
    (void)!send(l->control.channel->fd,
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 66,
                MSG_NOSIGNAL);
}

static void lie_refuses(struct liar *l)
{
    assert_true(take(l, &l->control));
    answer(&l->control, "{\"error\":\"NoSuchDomain\",\"text\":\"no\",\"hint\":17}");
}

static void lie_empty_answer(struct liar *l)
{
    assert_true(take(l, &l->control));
    answer(&l->control, "{}");
}

static void lie_message_for_an_answer(struct liar *l)
{
    assert_true(take(l, &l->control));
    say(l, "prepared");
}

static void lie_no_connections(struct liar *l)
{
    assert_true(take(l, &l->control));
    answer(&l->control, "{\"ok\":true,\"protocol\":1,\"connections\":0}");
}

static void lie_many_connections(struct liar *l)
{
    assert_true(take(l, &l->control));
    answer(&l->control, "{\"ok\":true,\"protocol\":1,\"connections\":4000000000}");
}

static void lie_other_protocol(struct liar *l)
{
    assert_true(take(l, &l->control));
    answer(&l->control, "{\"ok\":true,\"protocol\":99,\"connections\":1}");
}

static void lie_refuses_pages(struct liar *l)
{
    assert_true(take(l, &l->control));
    answer(&l->control, good_answer);
    assert_true(take(l, &l->pages));
    answer(&l->pages, "{\"error\":\"Failed\"}");
}

static void lie_closes_state(struct liar *l)
{
    assert_true(take(l, &l->control));
    answer(&l->control, good_answer);
    assert_true(take(l, &l->pages));
    answer(&l->pages, "{\"ok\":true}");
    assert_true(take(l, &l->state));
}

static void lie_closes_in_the_first_round(struct liar *l)
{
    assert_true(let_in(l));
}

static void lie_closes_pages(struct liar *l)
{
    assert_true(let_in(l));
    hang_up(&l->pages);
    wait_for_hang_up(&l->control);
}

static void lie_closes_control(struct liar *l)
{
    assert_true(let_in(l));
    hang_up(&l->control);
    take_round(l);
}

static void lie_closes_only_state(struct liar *l)
{
    assert_true(let_in(l));
    l->state.channel->ops->shutdown(l->state.channel);
    if (take_round(l))
        say_fence(l, l->round);
    wait_for_hang_up(&l->control);
}

static void lie_reads_no_pages(struct liar *l)
{
    assert_true(let_in(l));
    wait_for_hang_up(&l->control); /* until it gave up */
}

/* Its silence on the state connection must not hold up the source's way back. */
static void lie_reads_no_state(struct liar *l)
{
    struct wire_header h;
    assert_true(let_in_but_state(l));
    assert_int_equal(frame_recv(&l->pages.stream, &h, NULL), 0);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    uint64_t begun = now_usec();
    hang_up(&l->pages);
    wait_for_hang_up(&l->control);
    assert_true(now_usec() - begun < 8 * USEC_PER_SEC);
}

static void after_round(struct liar *l)
{
    assert_true(let_in(l));
    assert_true(take_round(l));
}

static void lie_fence_of_another_round(struct liar *l)
{
    after_round(l);
    say_fence(l, l->round + 1);
    wait_for_hang_up(&l->control);
}

static void lie_prepared_for_a_fence(struct liar *l)
{
    after_round(l);
    say(l, "prepared");
    wait_for_hang_up(&l->control);
}

static void lie_active_for_a_fence(struct liar *l)
{
    after_round(l);
    say(l, "active");
    wait_for_hang_up(&l->control);
}

static void lie_unknown_word(struct liar *l)
{
    after_round(l);
    say(l, "please");
    wait_for_hang_up(&l->control);
}

static void lie_digests_for_a_fence(struct liar *l)
{
    after_round(l);
    struct wire_header h = {.type = WIRE_DIGESTS, .length = 8};
    frame_send(&l->control.stream, &h, &(struct iovec){l->payload, 8}, 1);
    wait_for_hang_up(&l->control);
}

static void lie_aborts(struct liar *l)
{
    after_round(l);
    say(l, "abort");
    wait_for_hang_up(&l->control);
}

static void lie_closes_at_prepare(struct liar *l)
{
    assert_true(let_in(l) && wait_for_prepare(l));
}

static void lie_fence_for_prepared(struct liar *l)
{
    assert_true(let_in(l) && wait_for_prepare(l));
    say_fence(l, l->round);
    wait_for_hang_up(&l->control);
}

static void lie_active_for_prepared(struct liar *l)
{
    assert_true(let_in(l) && wait_for_prepare(l));
    say(l, "active");
    wait_for_hang_up(&l->control);
}

static void lie_aborts_at_prepare(struct liar *l)
{
    assert_true(let_in(l) && wait_for_prepare(l));
    say(l, "abort");
    wait_for_hang_up(&l->control);
}

static void get_to_verify(struct liar *l)
{
    assert_true(let_in(l) && wait_for_prepare(l));
    say(l, "prepared");
    assert_true(hear(l, "verify"));
}

static void send_digests(struct liar *l, uint32_t region, uint64_t first, uint64_t count)
{
    struct wire_header h = {
        .type = WIRE_DIGESTS, .region = region, .offset = first * REGION_PAGE_SIZE, .length = count * 8};
    memset(l->payload, 7, count * 8);
    frame_send(&l->control.stream, &h, &(struct iovec){l->payload, count * 8}, 1);
    wait_for_hang_up(&l->control);
}

static void lie_verified_at_once(struct liar *l)
{
    get_to_verify(l);
    say(l, "verified");
    wait_for_hang_up(&l->control);
}

static void lie_digests_with_a_gap(struct liar *l)
{
    get_to_verify(l);
    send_digests(l, 0, 1, PAGES - 1);
}

static void lie_digests_of_no_region(struct liar *l)
{
    get_to_verify(l);
    send_digests(l, 1, 0, 1);
}

static void lie_too_many_digests(struct liar *l)
{
    get_to_verify(l);
    send_digests(l, 0, 0, PAGES + 1);
}

static void lie_wrong_digests(struct liar *l)
{
    get_to_verify(l);
    struct wire_header h = {.type = WIRE_DIGESTS, .length = PAGES * 8};
    memset(l->payload, 7, PAGES * 8);
    frame_send(&l->control.stream, &h, &(struct iovec){l->payload, PAGES * 8}, 1);
    say(l, "verified");
    wait_for_hang_up(&l->control);
}

/* From here on the decision has been made. */

static void lie_returns(struct liar *l)
{
    assert_true(get_to_commit(l));
    say(l, "returned");
    wait_for_hang_up(&l->control);
}

static void lie_closes_at_commit(struct liar *l)
{
    assert_true(get_to_commit(l));
}

static void lie_prepared_for_active(struct liar *l)
{
    assert_true(get_to_commit(l));
    say(l, "prepared");
}

static void lie_aborts_after_commit(struct liar *l)
{
    assert_true(get_to_commit(l));
    say(l, "abort");
}

static const struct lie lies[] = {
#define L(name)                                                                                              \
    {                                                                                                        \
#name, lie_##name, END_RUNS_ON, VERIFY_OFF                                                           \
    }
#define LV(name)                                                                                             \
    {                                                                                                        \
#name, lie_##name, END_RUNS_ON, VERIFY_STRICT                                                        \
    }
#define LD(name)                                                                                             \
    {                                                                                                        \
#name, lie_##name, END_DOUBT, VERIFY_OFF                                                             \
    }
    L(closes_at_once),
    L(garbage),
    L(refuses),
    L(empty_answer),
    L(message_for_an_answer),
    L(no_connections),
    L(many_connections),
    L(other_protocol),
    L(refuses_pages),
    L(closes_state),
    L(closes_in_the_first_round),
    L(closes_pages),
    L(closes_control),
    L(closes_only_state),
    L(reads_no_pages),
    L(reads_no_state),
    L(fence_of_another_round),
    L(prepared_for_a_fence),
    L(active_for_a_fence),
    L(unknown_word),
    L(digests_for_a_fence),
    L(aborts),
    L(closes_at_prepare),
    L(fence_for_prepared),
    L(active_for_prepared),
    L(aborts_at_prepare),
    LV(verified_at_once),
    LV(digests_with_a_gap),
    LV(digests_of_no_region),
    LV(too_many_digests),
    LV(wrong_digests),
    {"returns", lie_returns, END_GIVEN_BACK, VERIFY_OFF},
    LD(closes_at_commit),
    LD(prepared_for_active),
    LD(aborts_after_commit),
};

/* ---- the source's side ---- */

static void *liar_thread(void *userdata)
{
    struct liar *l = userdata;
    l->lie->run(l);
    if (l->draining) {
        l->state.channel->ops->shutdown(l->state.channel);
        pthread_join(l->drain, NULL);
    }
    hang_up(&l->control);
    hang_up(&l->pages);
    hang_up(&l->state);
    close_fd(&l->listen_fd);
    return NULL;
}

static void listen_at(struct liar *l)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", l->scene->address + strlen("unix:"));
    l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->listen_fd, (struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(listen(l->listen_fd, 16), 0);
}

/* In doubt nothing runs until the operator says so. */
static void resolve_doubt(void *userdata)
{
    struct liar *l = userdata;
    struct side *source = &l->scene->source;
    if (source->migration && migration_get_state(source->migration) == MIG_STATE_IN_DOUBT) {
        assert_false(side_runs(source, 1));
        assert_int_equal(migration_resolve(source->migration, true, NULL), 0);
        l->resolved = true;
        return;
    }
    loop_timer_arm(l->timer, 20000);
}

static void check(const struct liar *l)
{
    const struct scene *s = l->scene;
    struct migration_status st;
    migration_get_status(s->source.migration, &st);
    if (s->late || st.state != MIG_STATE_FAILED || !st.error.message[0])
        fail_msg("%s: %s, late %d: %s", l->lie->name, mig_state_to_string(st.state), s->late,
                 st.error.message);
    if (l->resolved != (l->lie->end == END_DOUBT))
        fail_msg("%s: in doubt: %d", l->lie->name, l->resolved);
    if (!side_runs_whole(&s->source, 1) || s->source.device[0]->logging ||
        s->source.domain->state != DOMAIN_STATE_RUNNING || s->source.domain->borrowed)
        fail_msg("%s: the source does not run on as it should (%s)", l->lie->name, st.error.message);
    print_message("%s: %s\n", l->lie->name, st.error.message);
}

static void hear_lie(const struct lie *lie)
{
    size_t fds = count_entries("/proc/self/fd"), threads = count_threads_at_rest();
    struct scene s;
    struct liar l = {.scene = &s, .lie = lie, .payload = malloc(WIRE_PAYLOAD_MAX_BYTES)};
    struct migration_options o;
    migration_options_init(&o);
    o.connections = 1;
    o.verify = lie->verify;
    make_scene(&s, 1);
    listen_at(&l);
    assert_int_equal(loop_timer_new(&l.timer, s.loop, resolve_doubt, &l), 0);
    loop_timer_arm(l.timer, 20000);
    assert_int_equal(pthread_create(&l.thread, NULL, liar_thread, &l), 0);
    run_source(&s, &o);
    pthread_join(l.thread, NULL);
    loop_timer_free(l.timer);
    check(&l);
    end_scene(&s);
    free(l.payload);
    for (int i = 0; i < 400 && count_entries("/proc/self/task") != threads; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    if (count_entries("/proc/self/fd") != fds || count_entries("/proc/self/task") != threads)
        fail_msg("%s: %zu descriptors and %zu threads, before it were %zu and %zu", lie->name,
                 count_entries("/proc/self/fd"), count_entries("/proc/self/task"), fds, threads);
}

static void test_lies(void **state)
{
    for (size_t i = 0; i < ELEMENTS(lies); i++)
        hear_lie(&lies[i]);
}

static void *nothing(void *userdata)
{
    return userdata;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lies),
    };
    /* With its first thread a sanitizer starts one of its own: before threads are counted. */
    pthread_t first;
    if (pthread_create(&first, NULL, nothing, NULL) != 0 || pthread_join(first, NULL) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A source of protocol 1 as the first migd spoke it, from a recording: its HELLO has none of the keys that
 * came later, and its migration must still come in and run. What such a destination answers is what
 * test-hostile-destination begins with.
 *
 * The source is the main thread of the test; the destination runs its loop on another.
 */
#include "../fake/two-sides.h"
#include "base/clock.h"
#include "migration/dialogue.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

_Static_assert(MEMORY_BYTES == 4194304, "as recorded");

#define STEP_USEC (5 * USEC_PER_SEC)
#define TOKEN     "00112233445566778899aabbccddeeff"

static const char recorded_hello[] =
    "{\"regions\":[{\"name\":\"ram\",\"size\":4194304}],\"devices\":[{\"name\":\"dev0\",\"kind\":\"fake\","
    "\"migration-flags\":7,\"vendor\":0,\"device\":0,\"subsystem-vendor\":0,\"subsystem-device\":0,"
    "\"revision\":0,\"regions\":0,\"irqs\":0}],\"migration\":\"" SCENE_ID "\",\"protocol\":1,"
    "\"protocol-oldest\":1,\"version\":\"0.1.0\",\"domain\":\"dom\",\"page-size\":4096,\"connections\":1,"
    "\"vmm-state\":true,\"verify\":\"off\",\"token\":\"" TOKEN "\",\"decision-address\":\"\"}";

struct line {
    struct channel *channel;
    struct frame_stream stream;
};

/* Says HELLO; the answer must be one that the first migd took for a yes. */
static void open_line(const struct scene *s, struct line *l, const char *hello)
{
    struct json_object *o = json_tokener_parse(hello), *answer = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    assert_non_null(o);
    assert_int_equal(channel_connect(&l->channel, s->address, STEP_USEC, -1, NULL), 0);
    frame_stream_init(&l->stream, l->channel, false);
    if (dialogue_hello(&l->stream, o, &answer, &e) < 0)
        fail_msg("%s: %s", hello, e.message);
    uint64_t n;
    if (json_object_object_get_ex(o, "migration", NULL)) {
        assert_true(json_get_u64(answer, "protocol", &n) == 0 && n == 1);
        assert_true(json_get_u64(answer, "connections", &n) == 0 && n == 1);
    }
    json_object_put(answer);
    json_object_put(o);
}

static void attach(const struct scene *s, struct line *l, const char *role)
{
    char text[200];
    snprintf(text, sizeof text,
             "{\"attach\":\"" SCENE_ID "\",\"token\":\"" TOKEN "\",\"role\":\"%s\",\"index\":0}", role);
    open_line(s, l, text);
}

static void hear(struct line *l, const char *word)
{
    const char *const names[] = {word, NULL};
    const struct dialogue_expect expect = {.names = names, .timeout_usec = STEP_USEC, .what = word};
    struct json_object *o = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    int name;
    if (dialogue_receive(&l->stream, &expect, &name, &o, NULL, &e) < 0)
        fail_msg("%s: %s", word, e.message);
    json_object_put(o);
}

static void send_frame(struct line *l, struct wire_header h, const void *payload, size_t size)
{
    struct iovec iov = {(void *)payload, size};
    h.length = size;
    assert_int_equal(frame_send(&l->stream, &h, &iov, size ? 1 : 0), 0);
}

static void end_state(struct line *l, uint32_t index, const void *bytes, size_t size)
{
    uint64_t digest = htole64(XXH3_64bits(bytes, size));
    send_frame(l, (struct wire_header){.type = WIRE_STATE_END, .region = index, .offset = size}, &digest,
               sizeof digest);
}

static void send_state(struct line *l)
{
    uint8_t *bytes = malloc(STATE_BYTES);
    for (uint32_t i = 0; i < STATE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7);
    send_frame(l, (struct wire_header){.type = WIRE_STATE}, bytes, STATE_BYTES);
    end_state(l, 0, bytes, STATE_BYTES);
    send_frame(l, (struct wire_header){.type = WIRE_STATE, .region = WIRE_STATE_VMM}, "vmm", 3);
    end_state(l, WIRE_STATE_VMM, "vmm", 3);
    free(bytes);
}

static void *loop_thread(void *userdata)
{
    loop_run(userdata);
    return NULL;
}

static void a_recorded_source_gets_in(void **state)
{
    static const uint8_t page[REGION_PAGE_SIZE] = {1, 2, 3};
    struct scene s;
    struct line control, pages, device;
    pthread_t thread;
    make_scene(&s, 1);
    scene_listen(&s);
    s.source.ended = true; /* there is none: the loop ends with the destination */
    loop_timer_arm(s.patience, 4 * STEP_USEC);
    assert_int_equal(pthread_create(&thread, NULL, loop_thread, s.loop), 0);
    open_line(&s, &control, recorded_hello);
    attach(&s, &pages, "pages");
    attach(&s, &device, "state");
    send_frame(&pages, (struct wire_header){.type = WIRE_PAGES}, page, sizeof page);
    send_frame(&pages, (struct wire_header){.type = WIRE_FENCE}, NULL, 0);
    hear(&control, "fence");
    send_state(&device);
    dialogue_send(&control.stream, "prepare", NULL, NULL);
    hear(&control, "prepared");
    dialogue_send(&control.stream, "commit", NULL, NULL);
    hear(&control, "active");
    dialogue_send(&control.stream, "done", NULL, NULL);
    channel_free(control.channel);
    channel_free(pages.channel);
    channel_free(device.channel);
    pthread_join(thread, NULL);
    assert_false(s.late);
    assert_int_equal(s.destination.domain->state, DOMAIN_STATE_RUNNING);
    assert_true(side_runs_whole(&s.destination, 1));
    assert_int_equal(s.destination.device[0]->loaded, STATE_BYTES);
    assert_memory_equal(s.destination.region->map, page, sizeof page);
    end_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recorded_source_gets_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

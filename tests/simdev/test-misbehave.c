/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The device as it should not be: each switch of --misbehave does what it says, and only that. */
#include "base/clock.h"
#include "scene.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P };

static void start(struct scene *s, const char *what, const char *more)
{
    scene_start(s, "bad", (const char *const[]){"--idle", "--misbehave", what, more, NULL});
    scene_connect(s, true);
}

static unsigned report(struct scene *s)
{
    uint64_t bitmap[SCENE_BITMAP_WORDS];
    assert_int_equal(client_report(&s->client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), 0);
    return bits_set(bitmap, SCENE_BITMAP_WORDS);
}

static void test_write_after_stop(void **unused)
{
    struct scene s;
    _cleanup_free_ uint8_t *before = malloc(SCENE_BYTES);
    start(&s, "write-after-stop=500", NULL);
    assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
    scene_write(&s, 10);
    assert_int_equal(client_set_state(&s.client, RUNNING_P2P), 0);
    report(&s);
    client_idle(&s.client, 20);
    assert_int_equal(report(&s), 0);
    assert_int_equal(client_set_state(&s.client, STOP_COPY), 0);
    report(&s);
    memcpy(before, s.memory, SCENE_BYTES);
    client_idle(&s.client, 100);
    assert_in_range(report(&s), 1, 200);
    assert_memory_not_equal(before, s.memory, SCENE_BYTES);
    scene_end(&s);
}

static void test_late_dirty(void **unused)
{
    struct scene s;
    start(&s, "late-dirty", NULL);
    assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
    scene_write(&s, 10);
    assert_int_equal(client_set_state(&s.client, STOP), 0);
    assert_int_equal(report(&s), 0);
    assert_int_equal(report(&s), 10);
    assert_int_equal(report(&s), 0);
    scene_end(&s);
}

static void test_lose_bit(void **unused)
{
    struct scene s;
    start(&s, "lose-bit=5", NULL);
    assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
    scene_write(&s, 20);
    assert_int_equal(report(&s), 16);
    assert_int_equal(report(&s), 0);
    assert_int_equal(scene_check(&s, &s, NULL, NULL), 0); /* the journal knows them all */
    scene_end(&s);
}

static void test_lie_in_report(void **unused)
{
    static const char *const lies[] = {"lie-length=report", "lie-length=report:long",
                                       "lie-length=report:huge"};
    for (unsigned i = 0; i < ELEMENTS(lies); i++) {
        struct scene s;
        uint64_t bitmap[SCENE_BITMAP_WORDS];
        start(&s, lies[i], NULL);
        assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
        assert_int_equal(client_report(&s.client, SCENE_IOVA, SCENE_BYTES, 4096, bitmap), -EPROTO);
        scene_end(&s);
    }
}

static void test_lie_in_region(void **unused)
{
    static const char *const lies[] = {"lie-length=region", "lie-length=region:long",
                                       "lie-length=region:huge"};
    for (unsigned i = 0; i < ELEMENTS(lies); i++) {
        struct scene s;
        uint32_t value;
        start(&s, lies[i], NULL);
        assert_int_equal(client_read_register(&s.client, REG_ID, &value), -EPROTO);
        scene_end(&s);
    }
}

static void test_lie_in_data(void **unused)
{
    static const char *const lies[] = {"lie-length=data", "lie-length=data:long", "lie-length=data:huge"};
    for (unsigned i = 0; i < ELEMENTS(lies); i++) {
        struct scene s;
        _cleanup_free_ uint8_t *state = NULL;
        size_t n = 0;
        start(&s, lies[i], NULL);
        assert_int_equal(client_set_state(&s.client, STOP_COPY), 0);
        assert_int_equal(client_save(&s.client, &state, &n), -EPROTO);
        scene_end(&s);
    }
}

static void test_lie_in_version(void **unused)
{
    static const char *const lies[] = {"lie-length=version", "lie-length=version:long",
                                       "lie-length=version:huge"};
    for (unsigned i = 0; i < ELEMENTS(lies); i++) {
        struct scene s;
        scene_start(&s, "bad", (const char *const[]){"--misbehave", lies[i], NULL});
        assert_int_equal(client_connect(&s.client, s.device.socket_path, true), -EPROTO);
        scene_end(&s);
    }
}

static void test_error_payload(void **unused)
{
    struct scene s;
    uint32_t value;
    start(&s, "error-payload", NULL);
    assert_int_equal(client_read_register(&s.client, 1 << 20, &value), -EINVAL);
    assert_true(s.client.header.size > sizeof s.client.header);
    assert_int_equal(client_read_register(&s.client, REG_ID, &value), 0);
    assert_int_equal(value, 5);
    scene_end(&s);
}

/* However the bytes come, they mean the same: a whole migration. */
static void migrate_with(const char *what, const char *more, bool twin)
{
    struct scene a, b;
    _cleanup_free_ uint8_t *state = NULL;
    size_t n = 0;
    scene_start(&a, "a", (const char *const[]){"--rate", "5000", "--misbehave", what, more, NULL});
    scene_start(&b, "b", (const char *const[]){"--incoming", "--misbehave", what, more, NULL});
    scene_connect(&a, twin);
    scene_connect(&b, twin);
    client_idle(&a.client, 50);
    if (more) {
        assert_int_equal(client_set_state(&a.client, STOP_COPY), 0);
        memcpy(b.memory, a.memory, SCENE_BYTES);
        assert_int_equal(client_save(&a.client, &state, &n), 0);
    } else {
        scene_copy(&a, &b, 2, &state, &n);
    }
    assert_int_equal(client_set_state(&b.client, RESUMING), 0);
    assert_int_equal(client_load(&b.client, state, n), 0);
    assert_int_equal(client_set_state(&b.client, RUNNING), 0);
    client_idle(&b.client, 50);
    assert_int_equal(client_set_state(&b.client, STOP), 0);
    assert_int_equal(scene_check(&b, &a, &b, NULL), 0);
    scene_end(&a);
    scene_end(&b);
}

static void test_split(void **unused)
{
    migrate_with("split", NULL, true);
}

static void test_merge(void **unused)
{
    migrate_with("merge", NULL, true);
    migrate_with("merge", "--by-message", false);
    /* Two commands in a row: both replies are there at once. */
    struct scene s;
    struct vfu_device_info info = {.argsz = sizeof info};
    uint8_t both[2 * (sizeof(struct vfu_header) + sizeof info)];
    start(&s, "merge", NULL);
    assert_int_equal(client_send(&s.client, VFU_DEVICE_GET_INFO, &info, sizeof info, -1), 0);
    assert_int_equal(client_send(&s.client, VFU_DEVICE_GET_INFO, &info, sizeof info, -1), 0);
    assert_int_equal(recv(s.client.fd, both, sizeof both, 0), sizeof both);
    scene_end(&s);
}

static void test_stall(void **unused)
{
    struct scene s;
    start(&s, "stall=report:0.3:2", NULL);
    assert_int_equal(client_log_start(&s.client, 4096, NULL, NULL), 0);
    uint64_t t0 = now_usec();
    report(&s);
    uint64_t t1 = now_usec();
    report(&s);
    uint64_t t2 = now_usec();
    assert_true(t1 - t0 < 300000);
    assert_true(t2 - t1 >= 300000);
    scene_end(&s);

    /* A stalling device can still be ended. */
    start(&s, "stall=log-stop:1000", NULL);
    s.client.timeout_msec = 50;
    assert_int_equal(client_log_stop(&s.client), -ETIMEDOUT);
    assert_int_equal(process_stop(&s.device, SIGTERM), 0);
    scene_end(&s);
}

static void test_die(void **unused)
{
    struct scene s;
    start(&s, "die=set-state:2", NULL);
    assert_int_equal(client_set_state(&s.client, STOP), 0);
    assert_int_equal(client_set_state(&s.client, RUNNING), -EPIPE);
    int status = process_stop(&s.device, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 70);
    scene_end(&s);
}

static void test_no_reply(void **unused)
{
    struct scene s;
    uint32_t state;
    start(&s, "no-reply=set-state:1", NULL);
    s.client.timeout_msec = 100;
    assert_int_equal(client_set_state(&s.client, STOP), -ETIMEDOUT);
    assert_int_equal(client_get_state(&s.client, &state), 0);
    assert_int_equal(state, STOP);
    scene_end(&s);
}

static void test_refuse(void **unused)
{
    struct scene s;
    uint32_t state;
    start(&s, "refuse=running-p2p:stop:1", "--misbehave=refuse=running:stop-copy:1");
    assert_int_equal(client_set_state(&s.client, STOP), -EIO);
    assert_int_equal(client_get_state(&s.client, &state), 0);
    assert_int_equal(state, RUNNING_P2P);
    assert_int_equal(client_set_state(&s.client, RUNNING), 0);
    assert_int_equal(client_set_state(&s.client, STOP_COPY), -EIO);
    assert_int_equal(client_get_state(&s.client, &state), 0);
    assert_int_equal(state, RUNNING);
    assert_int_equal(client_set_state(&s.client, STOP_COPY), 0);
    scene_end(&s);

    start(&s, "break=stop:stop-copy", NULL);
    assert_int_equal(client_set_state(&s.client, STOP_COPY), -EIO);
    assert_int_equal(client_get_state(&s.client, &state), 0);
    assert_int_equal(state, ERROR);
    assert_int_equal(client_set_state(&s.client, RUNNING), -EINVAL);
    assert_int_equal(client_command(&s.client, VFU_DEVICE_RESET, NULL, 0, -1, NULL, NULL), 0);
    assert_int_equal(client_get_state(&s.client, &state), 0);
    assert_int_equal(state, RUNNING);
    scene_end(&s);
}

static void test_wrong_state_reply(void **unused)
{
    struct scene s;
    uint32_t state;
    start(&s, "wrong-state-reply", NULL);
    assert_int_equal(client_set_state(&s.client, STOP), -EPROTO);
    assert_int_equal(client_get_state(&s.client, &state), 0);
    assert_int_not_equal(state, STOP);
    scene_end(&s);
}

static void test_stray_precopy(void **unused)
{
    struct scene a, b;
    _cleanup_free_ uint8_t *stray = NULL, *state = NULL;
    size_t stray_bytes = 0, n = 0;
    start(&a, "stray-precopy", NULL);
    scene_start(&b, "b", (const char *const[]){"--incoming", NULL});
    scene_connect(&b, true);
    assert_int_equal(client_set_state(&a.client, PRE_COPY), 0);
    assert_int_equal(client_save(&a.client, &stray, &stray_bytes), 0);
    assert_true(stray_bytes > 16384);
    assert_int_equal(client_set_state(&a.client, STOP_COPY), 0);
    assert_int_equal(client_save(&a.client, &state, &n), 0);
    assert_int_equal(client_set_state(&b.client, RESUMING), 0);
    assert_int_equal(client_load(&b.client, stray, stray_bytes), 0);
    assert_int_equal(client_load(&b.client, state, n), 0);
    assert_int_equal(client_set_state(&b.client, STOP), -EINVAL);
    assert_int_equal(client_command(&b.client, VFU_DEVICE_RESET, NULL, 0, -1, NULL, NULL), 0);
    assert_int_equal(client_set_state(&b.client, RESUMING), 0);
    assert_int_equal(client_load(&b.client, state, n), 0);
    assert_int_equal(client_set_state(&b.client, STOP), 0);
    scene_end(&a);
    scene_end(&b);
}

static void test_fragile(void **unused)
{
    static const bool fragile[] = {false, true};
    for (unsigned i = 0; i < ELEMENTS(fragile); i++) {
        struct scene s;
        uint8_t message[sizeof(struct vfu_header) + sizeof(struct vfu_device_info)] = {};
        struct vfu_header h = {.msg_id = 77, .command = VFU_DEVICE_GET_INFO, .size = sizeof message};
        start(&s, fragile[i] ? "fragile" : "error-payload", NULL);
        memcpy(message, &h, sizeof h);
        assert_int_equal(send(s.client.fd, message, 5, MSG_NOSIGNAL), 5);
        client_idle(&s.client, 20);
        send(s.client.fd, message + 5, sizeof message - 5, MSG_NOSIGNAL);
        assert_int_equal(client_receive(&s.client, VFU_DEVICE_GET_INFO, 77, NULL, NULL),
                         fragile[i] ? -EPIPE : 0);
        scene_end(&s);
    }
}

/* What is not understood is refused before anything listens. */
static void test_usage(void **unused)
{
    static const char *const bad[] = {
        "write-after-stop=x", "lose-bit=0",     "lie-length=dma",    "stall=report", "stall=report:-1",
        "die=nothing",        "refuse=running", "refuse=error:stop", "split=1",      "lie-length=data:big"};
    char program[4096];
    const char *top = getenv("TOP_BUILDDIR");
    snprintf(program, sizeof program, "%s/simdev", top ? top : ".");
    for (unsigned i = 0; i < ELEMENTS(bad); i++) {
        const char *argv[] = {program, "--socket", "/tmp/simdev-test-usage", "--id", "1", "--misbehave",
                              bad[i],  NULL};
        assert_int_equal(run_program(argv), 2);
    }
    const char *help[] = {program, "--help", NULL};
    assert_int_equal(run_program(help), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_after_stop),
        cmocka_unit_test(test_late_dirty),
        cmocka_unit_test(test_lose_bit),
        cmocka_unit_test(test_lie_in_report),
        cmocka_unit_test(test_lie_in_region),
        cmocka_unit_test(test_lie_in_data),
        cmocka_unit_test(test_lie_in_version),
        cmocka_unit_test(test_error_payload),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_die),
        cmocka_unit_test(test_no_reply),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_wrong_state_reply),
        cmocka_unit_test(test_stray_precopy),
        cmocka_unit_test(test_fragile),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

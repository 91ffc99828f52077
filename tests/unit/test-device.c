/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state table against the kernel's, for every pair of states and every set of flags; the recovery ladder
 * on a fake device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "device/device.h"
#include <stdio.h>
#include <string.h>

/* The kernel core's table as a document has it: rows now, columns wanted; E: no way. */
#define E  0 /* error */
#define S  1 /* stop */
#define R  2 /* running */
#define C  3 /* stop-copy */
#define L  4 /* resuming */
#define RP 5 /* running-p2p */
#define P  6 /* pre-copy */
#define PP 7 /* pre-copy-p2p */
static const uint8_t kernel[8][8] = {
    /*        E  S   R   C   L   RP  P   PP */
    [E] = {E, E, E, E, E, E, E, E},      [S] = {E, S, RP, C, L, RP, RP, RP},
    [R] = {E, RP, R, RP, RP, RP, P, RP}, [C] = {E, S, S, C, S, S, E, E},
    [L] = {E, S, S, S, L, S, S, S},      [RP] = {E, S, R, S, S, RP, R, PP},
    [P] = {E, R, R, PP, R, R, P, PP},    [PP] = {E, RP, RP, C, RP, RP, P, PP},
};

static bool has(uint32_t flags, unsigned s)
{
    bool copy = flags & 1, p2p = flags & 2, pre = flags & 4;
    switch (s) {
    case RP:
        return copy && p2p;
    case P:
        return copy && pre;
    case PP:
        return copy && p2p && pre;
    default:
        return copy;
    }
}

static void test_numbers(void **state)
{
    assert_int_equal(DEVICE_STATE_STOP, S);
    assert_int_equal(DEVICE_STATE_RUNNING, R);
    assert_int_equal(DEVICE_STATE_STOP_COPY, C);
    assert_int_equal(DEVICE_STATE_RESUMING, L);
    assert_int_equal(DEVICE_STATE_RUNNING_P2P, RP);
    assert_int_equal(DEVICE_STATE_PRE_COPY, P);
    assert_int_equal(DEVICE_STATE_PRE_COPY_P2P, PP);
    for (unsigned s = 0; s < DEVICE_STATE_MAX; s++)
        assert_int_equal(device_state_from_string(device_state_to_string(s)), s);
    assert_string_equal(device_state_to_string(99), "unknown");
    assert_int_equal(device_state_from_string("unknown"), -EINVAL);
    assert_int_equal(device_state_from_string(NULL), -EINVAL);
}

static void test_table(void **state)
{
    for (uint32_t flags = 0; flags < 8; flags++)
        for (unsigned from = 0; from < 8; from++)
            for (unsigned to = 0; to < 8; to++) {
                assert_int_equal(device_state_exists(flags, to), has(flags, to));
                unsigned expected = E;
                if (from != E && to != E && has(flags, from) && has(flags, to))
                    for (expected = kernel[from][to]; expected != E && !has(flags, expected);)
                        expected = kernel[expected][to];
                if (device_state_next(flags, from, to) != expected)
                    fail_msg("flags %u, %s to %s: %s, the kernel goes to %s", flags,
                             device_state_to_string(from), device_state_to_string(to),
                             device_state_to_string(device_state_next(flags, from, to)),
                             device_state_to_string(expected));
            }
    assert_int_equal(device_state_next(7, 8, 2), DEVICE_STATE_ERROR);
    assert_int_equal(device_state_next(7, 2, 8), DEVICE_STATE_ERROR);
    assert_false(device_state_exists(7, 8));
}

static void test_known_ways(void **state)
{
    /* What libvfio-user's own table says for a device with STOP_COPY and PRE_COPY. */
    assert_int_equal(device_state_next(5, R, S), S);
    assert_int_equal(device_state_next(5, R, C), S);
    assert_int_equal(device_state_next(5, P, C), C);
    assert_int_equal(device_state_next(5, P, S), R);
    assert_int_equal(device_state_next(5, L, R), S);
    assert_int_equal(device_state_next(5, C, R), S);
    assert_int_equal(device_state_next(5, C, P), E);
    /* Every way ends, and never takes more steps than there are states. */
    for (uint32_t flags = 0; flags < 8; flags++)
        for (unsigned from = 0; from < 8; from++)
            for (unsigned to = 0; to < 8; to++) {
                unsigned now = from, steps = 0;
                while (now != to && now != E) {
                    now = device_state_next(flags, now, to);
                    assert_true(++steps < 8);
                }
            }
}

static void test_recovery_table(void **state)
{
    for (unsigned from = 0; from < 8; from++)
        for (unsigned to = 0; to < 8; to++) {
            enum device_state r = device_state_recovery(from, to);
            if (from == E || from == L)
                assert_int_equal(r, DEVICE_STATE_ERROR); /* only a reset */
            else
                /* Reachable, and never a state in which a saving session is open. */
                assert_true(r == DEVICE_STATE_RUNNING || r == DEVICE_STATE_STOP ||
                            r == DEVICE_STATE_RUNNING_P2P);
            for (uint32_t flags = 0; flags < 8; flags++)
                if (has(flags, from) && r != DEVICE_STATE_ERROR)
                    assert_true(device_state_exists(flags, r));
        }
    assert_int_equal(device_state_recovery(R, C), DEVICE_STATE_RUNNING);
    assert_int_equal(device_state_recovery(P, C), DEVICE_STATE_RUNNING);
    assert_int_equal(device_state_recovery(S, R), DEVICE_STATE_STOP);
    assert_int_equal(device_state_recovery(C, S), DEVICE_STATE_STOP);
}

struct fake {
    struct device device;
    enum device_state now;
    bool set_fails, reset_fails, reset_heals, mute;
    unsigned sets, resets;
    bool *destroyed;
};

static int fake_get(struct device *d, enum device_state *ret, struct mig_error *err)
{
    struct fake *f = (struct fake *)d;
    if (f->mute)
        return mig_error_set(err, MIG_ERR_DEVICE_TIMEOUT, 0, "silence");
    *ret = f->now;
    return 0;
}
static int fake_set(struct device *d, enum device_state to, enum device_state *ret, struct mig_error *err)
{
    struct fake *f = (struct fake *)d;
    f->sets++;
    if (f->set_fails) {
        *ret = f->now;
        return mig_error_set(err, MIG_ERR_DEVICE, 0, "no way");
    }
    *ret = f->now = to;
    return 0;
}
static int fake_reset(struct device *d, struct mig_error *err)
{
    struct fake *f = (struct fake *)d;
    f->resets++;
    if (f->reset_fails)
        return mig_error_set(err, MIG_ERR_DEVICE, 0, "no reset");
    if (f->reset_heals)
        f->now = DEVICE_STATE_RUNNING;
    return 0;
}
static void fake_destroy(struct device *d)
{
    struct fake *f = (struct fake *)d;
    iova_map_free(d->map);
    if (f->destroyed)
        *f->destroyed = true;
}
static const struct device_ops fake_ops = {
    .get_state = fake_get, .set_state = fake_set, .reset = fake_reset, .destroy = fake_destroy};

static int recover(struct fake *f, enum device_state from, enum device_state to, enum device_state *now,
                   char *steps, size_t size, struct mig_error *err)
{
    assert_int_equal(device_init(&f->device, &fake_ops, "nic0"), 0);
    int r = device_recover(&f->device, from, to, now, steps, size, err);
    device_unref(&f->device);
    return r;
}

static void test_ladder(void **state)
{
    char steps[400];
    enum device_state now;
    struct mig_error err = MIG_ERROR_INIT;

    struct fake goes_back = {.now = DEVICE_STATE_PRE_COPY};
    assert_int_equal(recover(&goes_back, P, C, &now, steps, sizeof steps, &err), 0);
    assert_int_equal(now, DEVICE_STATE_RUNNING);
    assert_int_equal(goes_back.sets, 1);
    assert_int_equal(goes_back.resets, 0);
    assert_non_null(strstr(steps, "back in running"));

    struct fake there_already = {.now = DEVICE_STATE_RUNNING};
    assert_int_equal(recover(&there_already, R, C, &now, steps, sizeof steps, &err), 0);
    assert_int_equal(there_already.sets, 0);

    struct fake needs_reset = {.now = DEVICE_STATE_STOP, .set_fails = true, .reset_heals = true};
    assert_int_equal(recover(&needs_reset, R, C, &now, steps, sizeof steps, &err), 1);
    assert_int_equal(now, DEVICE_STATE_RUNNING);
    assert_int_equal(needs_reset.resets, 1);
    assert_non_null(strstr(steps, "no way"));
    assert_non_null(strstr(steps, "reset"));

    struct fake in_error = {.now = DEVICE_STATE_ERROR, .reset_heals = true};
    assert_int_equal(recover(&in_error, R, C, &now, steps, sizeof steps, &err), 1);
    assert_int_equal(in_error.sets, 0); /* nobody leaves ERROR by asking */
    assert_false(mig_error_is_set(&err));

    struct fake still_error = {.now = DEVICE_STATE_ERROR};
    assert_true(recover(&still_error, R, C, &now, steps, sizeof steps, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_DEVICE_BROKEN);
    assert_int_equal(now, DEVICE_STATE_ERROR);
    assert_non_null(strstr(err.message, "nic0"));
    assert_true(err.hint[0] != '\0');

    struct fake dead = {.mute = true, .reset_fails = true};
    assert_true(recover(&dead, R, C, &now, steps, sizeof steps, &err) < 0);
    assert_non_null(strstr(steps, "silence"));
    assert_non_null(strstr(steps, "no reset"));

    char tiny[8]; /* steps are cut, never overrun; none at all is fine */
    struct fake again = {.now = DEVICE_STATE_ERROR};
    assert_true(recover(&again, R, C, &now, tiny, sizeof tiny, &err) < 0);
    assert_int_equal(strlen(tiny), sizeof tiny - 1);
    assert_true(recover(&again, R, C, &now, NULL, 0, NULL) < 0);
}

static void test_references(void **state)
{
    bool destroyed = false;
    struct fake f = {.destroyed = &destroyed};
    char long_name[DEVICE_NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(device_init(&f.device, &fake_ops, long_name), -EINVAL);
    assert_int_equal(device_init(&f.device, &fake_ops, ""), -EINVAL);
    assert_int_equal(device_init(&f.device, &fake_ops, "nic0"), 0);
    assert_ptr_equal(device_ref(&f.device), &f.device);
    assert_null(device_unref(&f.device));
    assert_false(destroyed);
    assert_null(device_unref(&f.device));
    assert_true(destroyed);
    assert_null(device_unref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_table),
        cmocka_unit_test(test_known_ways), cmocka_unit_test(test_recovery_table),
        cmocka_unit_test(test_ladder),     cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

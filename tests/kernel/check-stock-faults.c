/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rule R12 against a real kernel: the device refuses a step of its state machine, or goes to ERROR in it, and
 * the ladder brings it back. Runs inside the lab, on Debian's kernel, whose mtty has today's patch.
 */
#include "lab.h"
#include "vfio/device.h"
#include <string.h>

static struct mig_error e;

struct rig {
    struct device *d;
    int fd, container;
};

static struct rig rig_new(void)
{
    struct rig g = {.container = -1};
    g.fd = lab_open_by_group(lab_new_mtty(1), &g.container);
    const struct kvfio_device_options o = {.fd = g.fd, .gone_fd = -1};
    LAB_OK(kvfio_device_new(&g.d, "tty0", &o, &e), &e);
    mig_error_clear(&e);
    return g;
}

static void rig_free(struct rig *g)
{
    close(g->fd);
    device_unref(g->d);
    close(g->container);
}

static enum device_state state_of(struct rig *g)
{
    enum device_state now;
    LAB_OK(g->d->ops->get_state(g->d, &now, &e), &e);
    return now;
}

static void go(struct rig *g, enum device_state s)
{
    LAB_OK(g->d->ops->set_state(g->d, s, NULL, &e), &e);
    LAB_EQUAL(state_of(g), s);
}

/* Every arc that migd walks, and where rule R12 has the device when the arc fails. */
static const struct arc {
    enum device_state from, to, back;
    int took_reset;
} arcs[] = {
    {DEVICE_STATE_RUNNING, DEVICE_STATE_RUNNING_P2P, DEVICE_STATE_RUNNING, 0},
    {DEVICE_STATE_RUNNING, DEVICE_STATE_PRE_COPY, DEVICE_STATE_RUNNING, 0},
    {DEVICE_STATE_RUNNING_P2P, DEVICE_STATE_STOP, DEVICE_STATE_RUNNING_P2P, 0},
    {DEVICE_STATE_RUNNING_P2P, DEVICE_STATE_RUNNING, DEVICE_STATE_RUNNING_P2P, 0},
    {DEVICE_STATE_PRE_COPY, DEVICE_STATE_PRE_COPY_P2P, DEVICE_STATE_RUNNING, 0},
    {DEVICE_STATE_PRE_COPY, DEVICE_STATE_RUNNING, DEVICE_STATE_RUNNING, 0},
    {DEVICE_STATE_PRE_COPY_P2P, DEVICE_STATE_STOP_COPY, DEVICE_STATE_RUNNING_P2P, 0},
    {DEVICE_STATE_STOP, DEVICE_STATE_STOP_COPY, DEVICE_STATE_STOP, 0},
    {DEVICE_STATE_STOP, DEVICE_STATE_RUNNING_P2P, DEVICE_STATE_STOP, 0},
    {DEVICE_STATE_STOP, DEVICE_STATE_RESUMING, DEVICE_STATE_STOP, 0},
    {DEVICE_STATE_STOP_COPY, DEVICE_STATE_STOP, DEVICE_STATE_STOP, 0},
    {DEVICE_STATE_RESUMING, DEVICE_STATE_STOP, DEVICE_STATE_RUNNING, 1}, /* half loaded */
};

/* The step fails as armed; returns what the ladder answers. */
static int fail_and_recover(struct rig *g, const struct arc *a, uint32_t fault, enum device_state reached)
{
    enum device_state now;
    char steps[400];
    go(g, a->from);
    lab_mtty_arm(g->fd, fault);
    mig_error_clear(&e);
    LAB_EQUAL(g->d->ops->set_state(g->d, a->to, &now, &e), -EIO);
    LAB_EQUAL(now, reached);
    LAB_EQUAL(state_of(g), reached);
    if (reached == DEVICE_STATE_ERROR) {
        mig_error_clear(&e);
        LAB_EQUAL(g->d->ops->set_state(g->d, a->from, &now, &e), -ESTALE); /* nor back */
        LAB_EQUAL(now, DEVICE_STATE_ERROR);
        LAB_CHECK(strstr(e.hint, "reset"));
    }
    mig_error_clear(&e);
    now = DEVICE_STATE_ERROR;
    int r = device_recover(g->d, a->from, a->to, &now, steps, sizeof steps, &e);
    lab_note("%s", steps);
    if (r >= 0)
        LAB_EQUAL(state_of(g), now);
    return r;
}

static void refused(void)
{
    struct rig g = rig_new();
    for (size_t i = 0; i < ELEMENTS(arcs); i++) {
        LAB_EQUAL(fail_and_recover(&g, &arcs[i], arcs[i].to, arcs[i].from), arcs[i].took_reset);
        LAB_EQUAL(state_of(&g), arcs[i].back);
        LAB_EQUAL(lab_mtty_armed(g.fd), 0); /* it was this step that failed */
        go(&g, DEVICE_STATE_STOP_COPY);     /* as usable as before */
        go(&g, DEVICE_STATE_RUNNING);
    }
    rig_free(&g);
}

static void in_error(void)
{
    struct rig g = rig_new();
    for (size_t i = 0; i < ELEMENTS(arcs); i++) {
        LAB_EQUAL(fail_and_recover(&g, &arcs[i], arcs[i].to | LAB_FAULT_ERROR, DEVICE_STATE_ERROR), 1);
        LAB_EQUAL(state_of(&g), DEVICE_STATE_RUNNING);
        go(&g, DEVICE_STATE_STOP_COPY);
        go(&g, DEVICE_STATE_RUNNING);
    }
    rig_free(&g);
}

/* A session that ERROR ended has nothing more to say, and the next is a new one. */
static void stream_in_error(void)
{
    struct rig g = rig_new();
    char state[4096];
    go(&g, DEVICE_STATE_PRE_COPY);
    lab_mtty_arm(g.fd, DEVICE_STATE_STOP_COPY | LAB_FAULT_ERROR);
    LAB_EQUAL(g.d->ops->set_state(g.d, DEVICE_STATE_STOP_COPY, NULL, &e), -EIO);
    mig_error_clear(&e);
    LAB_CHECK(g.d->ops->read_state(g.d, state, sizeof state, &e) < 0);
    lab_note("%s", e.message);
    LAB_OK(g.d->ops->reset(g.d, &e), &e);
    go(&g, DEVICE_STATE_STOP_COPY);
    LAB_CHECK(g.d->ops->read_state(g.d, state, sizeof state, &e) > 0);
    go(&g, DEVICE_STATE_RUNNING);
    rig_free(&g);
}

/* The recovery state is refused as well: the next rung. */
static void refused_twice(void)
{
    struct rig g = rig_new();
    static const struct arc a = {.from = DEVICE_STATE_PRE_COPY_P2P, .to = DEVICE_STATE_RUNNING_P2P};
    LAB_EQUAL(fail_and_recover(&g, &a, DEVICE_STATE_RUNNING_P2P | LAB_FAULT_STAYS, a.from), 1);
    LAB_EQUAL(state_of(&g), DEVICE_STATE_RUNNING);
    lab_mtty_arm(g.fd, 0);
    go(&g, DEVICE_STATE_STOP_COPY);
    rig_free(&g);
}

/* And the reset too: broken, until a reset helps. */
static void reset_fails(void)
{
    struct rig g = rig_new();
    static const struct arc a = {.from = DEVICE_STATE_STOP, .to = DEVICE_STATE_STOP_COPY};
    uint32_t fault = DEVICE_STATE_STOP_COPY | LAB_FAULT_ERROR | LAB_FAULT_RESET;
    enum device_state now;
    LAB_CHECK(fail_and_recover(&g, &a, fault, DEVICE_STATE_ERROR) < 0);
    LAB_EQUAL(e.code, MIG_ERR_DEVICE_BROKEN);
    LAB_CHECK(strstr(e.message, "the reset failed"));
    lab_note("%s (%s)", e.message, e.hint);
    LAB_EQUAL(state_of(&g), DEVICE_STATE_ERROR);
    lab_mtty_arm(g.fd, 0);
    LAB_EQUAL(device_recover(g.d, a.from, a.to, &now, NULL, 0, &e), 1);
    LAB_EQUAL(now, DEVICE_STATE_RUNNING);
    rig_free(&g);
}

int main(void)
{
    static const struct lab_case cases[] = {
        {"a device that refuses a step: the recovery state of every arc", refused},
        {"a device that goes to ERROR: only a reset helps, on every arc", in_error},
        {"a device that goes to ERROR: its stream ends, the next is new", stream_in_error},
        {"a device that refuses the recovery state as well is reset", refused_twice},
        {"a device in ERROR that cannot be reset is broken", reset_fails},
    };
    return lab_run(cases, ELEMENTS(cases));
}

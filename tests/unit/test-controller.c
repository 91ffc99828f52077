/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The dbus controller against a VMM with its own connection, on a bus of the test's own. */
#include "base/clock.h"
#include "base/fds.h"
#include "loop/bus.h"
#include "loop/loop.h"
#include "loop/worker.h"
#include "migd-bus.h"
#include "private-bus.h"
#include "vmm/controller-dbus.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <cmocka.h>

#define VMM_NAME "org.migd.test.Vmm"

/* ---- the VMM: what it does depends on the object's path ---- */
struct vmm {
    pthread_t thread;
    sd_bus *bus;
    atomic_bool stop, die;
    atomic_int pauses, resumes, log_starts, log_stops;
    char loaded[64];
    sd_bus_message *held;
};

static int on_vmm_call(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct vmm *v = userdata;
    const char *path = sd_bus_message_get_path(m), *member = sd_bus_message_get_member(m);
    int fd;
    if (!sd_bus_message_is_method_call(m, MIGD_IFACE_VMM, NULL))
        return 0;
    if (strcmp(path, "/hang") == 0) {
        v->held = sd_bus_message_ref(m);
        return 1;
    }
    if (strcmp(path, "/die") == 0) {
        v->die = true;
        return 1;
    }
    if (strcmp(path, "/old") == 0)
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "never heard of %s", member);
    if (strcmp(path, "/fail") == 0)
        return sd_bus_reply_method_errorf(m, "org.example.Error.NoVcpus", "it is not in the mood");
    if (strcmp(path, "/ok") != 0 && strcmp(path, "/empty") != 0 && strcmp(path, "/big") != 0)
        return 0;
    if (strcmp(member, "Pause") == 0)
        v->pauses++;
    else if (strcmp(member, "Resume") == 0)
        v->resumes++;
    else if (strcmp(member, "StartLog") == 0)
        v->log_starts++;
    else if (strcmp(member, "StopLog") == 0)
        v->log_stops++;
    else if (sd_bus_message_read(m, "h", &fd) < 0)
        return -EINVAL;
    else if (strcmp(member, "SaveState") == 0 && strcmp(path, "/ok") == 0) {
        if (write_full(fd, "the state", 9) < 0)
            return -EIO;
    } else if (strcmp(member, "SaveState") == 0 && strcmp(path, "/big") == 0) {
        if (ftruncate(fd, (off_t)CONTROLLER_STATE_MAX_BYTES + 1) < 0)
            return -errno;
    } else if (strcmp(member, "LoadState") == 0) {
        if (pread(fd, v->loaded, sizeof v->loaded - 1, 0) < 0)
            return -errno;
    }
    return sd_bus_reply_method_return(m, NULL);
}

static void *vmm_main(void *userdata)
{
    struct vmm *v = userdata;
    while (!v->stop && !v->die) {
        if (sd_bus_process(v->bus, NULL) <= 0)
            sd_bus_wait(v->bus, 20000);
        if (v->held && v->stop)
            break;
    }
    if (v->held) { /* an answer that comes too late */
        sd_bus_reply_method_return(v->held, NULL);
        v->held = sd_bus_message_unref(v->held);
    }
    sd_bus_flush_close_unref(v->bus);
    return NULL;
}

static void vmm_start(struct vmm *v, const char *address)
{
    *v = (struct vmm){0};
    assert_true(sd_bus_new(&v->bus) >= 0);
    assert_true(sd_bus_set_address(v->bus, address) >= 0);
    assert_true(sd_bus_set_bus_client(v->bus, true) >= 0);
    assert_true(sd_bus_start(v->bus) >= 0);
    assert_true(sd_bus_add_filter(v->bus, NULL, on_vmm_call, v) >= 0);
    assert_true(sd_bus_request_name(v->bus, VMM_NAME, 0) >= 0);
    assert_int_equal(pthread_create(&v->thread, NULL, vmm_main, v), 0);
}

static void vmm_stop(struct vmm *v)
{
    v->stop = true;
    pthread_join(v->thread, NULL);
}

/* ---- the daemon's side ---- */
struct fixture {
    struct private_bus pb;
    struct loop *loop;
    struct bus *bus;
    struct vmm vmm;
    struct controller *controller;
    struct worker *worker;
    int (*op)(struct fixture *f);
    uint64_t deadline_usec;
    int fd;
    struct mig_error error;
    int result;
    uint64_t usec;
};

static int do_pause(struct fixture *f)
{
    return f->controller->ops->pause(f->controller, f->deadline_usec, &f->error);
}
static int do_resume(struct fixture *f)
{
    return f->controller->ops->resume(f->controller, f->deadline_usec, &f->error);
}
static int do_start_log(struct fixture *f)
{
    return f->controller->ops->start_log(f->controller, f->deadline_usec, &f->error);
}
static int do_stop_log(struct fixture *f)
{
    return f->controller->ops->stop_log(f->controller, f->deadline_usec, &f->error);
}
static int do_save(struct fixture *f)
{
    return f->controller->ops->save(f->controller, f->deadline_usec, &f->fd, &f->error);
}
static int do_load(struct fixture *f)
{
    return f->controller->ops->load(f->controller, f->fd, f->deadline_usec, &f->error);
}

static int run_op(struct worker *w, void *userdata)
{
    struct fixture *f = userdata;
    uint64_t begin = now_usec();
    int r = f->op(f);
    f->usec = now_usec() - begin;
    return r;
}

static void op_done(void *userdata, int result)
{
    struct fixture *f = userdata;
    f->result = result;
    loop_exit(f->loop, 0);
}

/* Runs op on a worker while the loop turns, for at most timeout. */
static int perform(struct fixture *f, int (*op)(struct fixture *), const char *path, uint64_t timeout_usec)
{
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(
        controller_new_dbus(&f->controller, f->loop, bus_sd(f->bus), VMM_NAME, path, timeout_usec, &e), 0);
    f->op = op;
    f->error = MIG_ERROR_INIT;
    f->deadline_usec = deadline_in(20 * USEC_PER_SEC);
    assert_int_equal(worker_start(&f->worker, f->loop, "op", run_op, op_done, f), 0);
    loop_run(f->loop);
    f->worker = worker_free(f->worker);
    f->controller = controller_unref(f->controller);
    return f->result;
}

static struct fixture the_fixture;

static int setup(void **state)
{
    struct fixture *f = &the_fixture;
    const char *address = f->pb.address;
    struct mig_error e = MIG_ERROR_INIT;
    f->fd = -1;
    assert_int_equal(loop_new(&f->loop), 0);
    assert_int_equal(bus_new(&f->bus, f->loop, address, &e), 0);
    vmm_start(&f->vmm, address);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vmm_stop(&f->vmm);
    close_fd(&f->fd);
    bus_free(f->bus);
    loop_free(f->loop);
    return 0;
}

static void pause_and_resume(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(perform(f, do_pause, "/ok", 5 * USEC_PER_SEC), 0);
    assert_int_equal(f->vmm.pauses, 1);
    assert_int_equal(perform(f, do_resume, "/ok", 5 * USEC_PER_SEC), 0);
    assert_int_equal(f->vmm.resumes, 1);
}

static void the_log_is_started_and_stopped(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(perform(f, do_start_log, "/ok", 5 * USEC_PER_SEC), 0);
    assert_int_equal(f->vmm.log_starts, 1);
    assert_int_equal(perform(f, do_stop_log, "/ok", 5 * USEC_PER_SEC), 0);
    assert_int_equal(f->vmm.log_stops, 1);
    assert_true(perform(f, do_start_log, "/fail", 5 * USEC_PER_SEC) < 0);
    assert_non_null(strstr(f->error.message, "StartLog"));
    assert_true(perform(f, do_start_log, "/elsewhere", 5 * USEC_PER_SEC) < 0);
}

/* Its log is always on. That it cannot pause would be another matter. */
static void a_vmm_may_lack_the_methods_of_the_log(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(perform(f, do_start_log, "/old", 5 * USEC_PER_SEC), 0);
    assert_int_equal(perform(f, do_stop_log, "/old", 5 * USEC_PER_SEC), 0);
    assert_true(perform(f, do_pause, "/old", 5 * USEC_PER_SEC) < 0);
}

static void state_travels(void **state)
{
    struct fixture *f = *state;
    char text[16] = "";
    assert_int_equal(perform(f, do_save, "/ok", 5 * USEC_PER_SEC), 0);
    assert_true(f->fd >= 0);
    assert_int_equal(pread(f->fd, text, sizeof text, 0), 9);
    assert_string_equal(text, "the state");
    assert_int_equal(ftruncate(f->fd, 1), -1); /* sealed */
    assert_int_equal(perform(f, do_load, "/ok", 5 * USEC_PER_SEC), 0);
    assert_string_equal(f->vmm.loaded, "the state");
}

static void no_state_is_no_descriptor(void **state)
{
    struct fixture *f = *state;
    f->fd = 99;
    assert_int_equal(perform(f, do_save, "/empty", 5 * USEC_PER_SEC), 0);
    assert_int_equal(f->fd, -1);
}

static void too_much_state_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_true(perform(f, do_save, "/big", 5 * USEC_PER_SEC) < 0);
    assert_int_equal(f->error.code, MIG_ERR_LIMIT);
    assert_int_equal(f->fd, -1);
}

static void a_refusal_is_told(void **state)
{
    struct fixture *f = *state;
    assert_true(perform(f, do_pause, "/fail", 5 * USEC_PER_SEC) < 0);
    assert_int_equal(f->error.code, MIG_ERR_CONTROLLER);
    assert_non_null(strstr(f->error.message, VMM_NAME));
    assert_non_null(strstr(f->error.message, "Pause"));
    assert_non_null(strstr(f->error.message, "not in the mood"));
}

static void a_hang_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    assert_true(perform(f, do_pause, "/hang", 300 * USEC_PER_MSEC) < 0);
    assert_int_equal(f->error.code, MIG_ERR_CONTROLLER_TIMEOUT);
    assert_true(f->usec >= 290 * USEC_PER_MSEC && f->usec < 30 * USEC_PER_SEC);
    assert_non_null(strstr(f->error.message, "0.3 s"));
    assert_true(f->error.hint[0]);
    /* The answer comes when the VMM ends: nobody waits for it any more, and the next call works. */
    vmm_stop(&f->vmm);
    vmm_start(&f->vmm, f->pb.address);
    assert_int_equal(perform(f, do_pause, "/ok", 5 * USEC_PER_SEC), 0);
}

static void a_death_is_noticed_at_once(void **state)
{
    struct fixture *f = *state;
    assert_true(perform(f, do_pause, "/die", 15 * USEC_PER_SEC) < 0);
    assert_int_equal(f->error.code, MIG_ERR_CONTROLLER);
    assert_true(f->usec < 14 * USEC_PER_SEC);
    assert_non_null(strstr(f->error.message, "left the bus during Pause"));
}

static void nobody_there(void **state)
{
    struct fixture *f = *state;
    vmm_stop(&f->vmm);
    assert_true(perform(f, do_pause, "/ok", 5 * USEC_PER_SEC) < 0);
    assert_int_equal(f->error.code, MIG_ERR_CONTROLLER);
    assert_non_null(strstr(f->error.message, "no VMM at bus name " VMM_NAME));
    assert_true(f->error.hint[0]);
    vmm_start(&f->vmm, f->pb.address);
}

static void no_such_object(void **state)
{
    struct fixture *f = *state;
    assert_true(perform(f, do_pause, "/elsewhere", 5 * USEC_PER_SEC) < 0);
    assert_int_equal(f->error.code, MIG_ERR_CONTROLLER);
    assert_non_null(strstr(f->error.hint, MIGD_IFACE_VMM));
}

static void names_are_checked(void **state)
{
    struct fixture *f = *state;
    struct controller *c = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(controller_new_dbus(&c, f->loop, bus_sd(f->bus), "not a name", "/ok", 1, &e), -EINVAL);
    assert_int_equal(controller_new_dbus(&c, f->loop, bus_sd(f->bus), VMM_NAME, "ok", 1, &e), -EINVAL);
    assert_int_equal(controller_new_dbus(&c, f->loop, bus_sd(f->bus), VMM_NAME, "/ok", 0, &e), -EINVAL);
    assert_null(c);
}

static void none_does_nothing(void **state)
{
    struct controller *c = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    int fd = 5;
    assert_int_equal(controller_new_none(&c, &e), 0);
    assert_int_equal(c->ops->pause(c, 0, &e), 0);
    assert_int_equal(c->ops->save(c, 0, &fd, &e), 0);
    assert_int_equal(fd, -1);
    assert_int_equal(c->ops->resume(c, 0, &e), 0);
    assert_true(c->ops->load(c, 0, 0, &e) < 0);
    controller_unref(controller_ref(c));
    controller_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pause_and_resume, setup, teardown),
        cmocka_unit_test_setup_teardown(the_log_is_started_and_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_vmm_may_lack_the_methods_of_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(state_travels, setup, teardown),
        cmocka_unit_test_setup_teardown(no_state_is_no_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(too_much_state_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hang_ends_at_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_death_is_noticed_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there, setup, teardown),
        cmocka_unit_test_setup_teardown(no_such_object, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_checked, setup, teardown),
        cmocka_unit_test(none_does_nothing),
    };
    int r = private_bus_start(&the_fixture.pb);
    if (r < 0) {
        fprintf(stderr, "no private bus: %s\n", strerror(-r));
        return r == -ENOENT ? 77 : 1;
    }
    r = cmocka_run_group_tests(tests, NULL, NULL);
    private_bus_stop(&the_fixture.pb);
    return r;
}

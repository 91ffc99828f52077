/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"
#include "base/fds.h"
#include "base/progress.h"
#include "loop/loop.h"
#include "loop/worker.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <cmocka.h>

struct fixture {
    struct loop *loop;
    unsigned order[64];
    unsigned count;
    unsigned prepared;
    struct loop_timer *timer;
    struct loop_io *io;
    struct worker *worker;
    int result;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(loop_new(&f->loop), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_timer_free(f->timer);
    loop_io_free(f->io);
    worker_free(f->worker);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void give_up(void *userdata)
{
    loop_exit(((struct fixture *)userdata)->loop, 99);
}

/* Every test ends within 10 seconds, by exit code 99 if by nothing better. */
static int run_bounded(struct fixture *f)
{
    struct loop_timer *t;
    assert_int_equal(loop_timer_new(&t, f->loop, give_up, f), 0);
    loop_timer_arm(t, 10 * USEC_PER_SEC);
    int code = loop_run(f->loop);
    loop_timer_free(t);
    return code;
}

#define POSTS 2000u
struct post {
    struct fixture *f;
    unsigned thread, sequence;
};
static unsigned last_seen[4], posts_seen;

static void see_post(void *userdata)
{
    struct post *p = userdata;
    assert_int_equal(p->sequence, last_seen[p->thread]);
    last_seen[p->thread]++;
    if (++posts_seen == 4 * POSTS)
        loop_exit(p->f->loop, 0);
    free(p);
}

struct poster {
    struct fixture *f;
    unsigned thread;
};

static void *post_many(void *userdata)
{
    struct poster *t = userdata;
    for (unsigned i = 0; i < POSTS; i++) {
        struct post *p = malloc(sizeof *p);
        *p = (struct post){t->f, t->thread, i};
        if (loop_post(t->f->loop, see_post, p) < 0)
            abort();
    }
    return NULL;
}

static void posts_keep_their_order(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    struct poster posters[4];
    for (unsigned i = 0; i < 4; i++) {
        posters[i] = (struct poster){f, i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    assert_int_equal(run_bounded(f), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(posts_seen, 4 * POSTS);
}

/* ---- calls ---- */

struct caller {
    struct fixture *f;
    pthread_t main_thread;
    int first, second;
    atomic_bool ended;
};

static int called(void *userdata)
{
    struct caller *c = userdata;
    assert_true(pthread_equal(pthread_self(), c->main_thread));
    c->f->count++;
    return 42;
}

static int called_and_ends(void *userdata)
{
    struct caller *c = userdata;
    loop_exit(c->f->loop, 5);
    return 43;
}

static void *call_twice(void *userdata)
{
    struct caller *c = userdata;
    c->first = loop_call(c->f->loop, called, c);
    loop_call(c->f->loop, called_and_ends, c);
    while (!atomic_load(&c->ended))
        usleep(1000);
    c->second = loop_call(c->f->loop, called, c); /* nobody runs it any more */
    return NULL;
}

static void calls_are_answered_or_cancelled(void **state)
{
    struct fixture *f = *state;
    struct caller c = {.f = f, .main_thread = pthread_self()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_twice, &c), 0);
    assert_int_equal(run_bounded(f), 5);
    atomic_store(&c.ended, true);
    pthread_join(thread, NULL);
    assert_int_equal(c.first, 42);
    assert_int_equal(c.second, -ECANCELED);
    assert_int_equal(f->count, 1);
}

static void on_timer(void *userdata)
{
    struct fixture *f = userdata;
    if (++f->count == 3)
        loop_exit(f->loop, 7);
    else
        loop_timer_arm(f->timer, 20 * USEC_PER_MSEC);
}

static void timers_fire_once_and_again(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_timer_new(&f->timer, f->loop, on_timer, f), 0);
    uint64_t begin = now_usec();
    loop_timer_arm(f->timer, 20 * USEC_PER_MSEC);
    assert_int_equal(run_bounded(f), 7);
    assert_true(now_usec() - begin >= 60 * USEC_PER_MSEC);
    assert_int_equal(f->count, 3);
    /* taken back */
    loop_timer_arm(f->timer, 0);
    loop_timer_arm(f->timer, UINT64_MAX);
    struct loop_timer *end;
    assert_int_equal(loop_timer_new(&end, f->loop, give_up, f), 0);
    loop_timer_arm(end, 50 * USEC_PER_MSEC);
    assert_int_equal(run_bounded(f), 99);
    assert_int_equal(f->count, 3);
    loop_timer_free(end);
}

static void on_io(int fd, void *userdata)
{
    struct fixture *f = userdata;
    char c;
    assert_int_equal(read(fd, &c, 1), 1);
    f->io = loop_io_free(f->io); /* from its own callback */
    loop_exit(f->loop, c);
}

static void io_may_be_freed_from_its_callback(void **state)
{
    struct fixture *f = *state;
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(loop_io_new(&f->io, f->loop, p[0], on_io, f), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(run_bounded(f), 'x');
    close(p[0]);
    close(p[1]);
}

static void a_file_is_refused(void **state)
{
    struct fixture *f = *state;
    _cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(loop_io_new(&f->io, f->loop, fd, on_io, f), -EPERM);
}

static void signals_end_the_loop(void **state)
{
    struct fixture *f = *state;
    kill(getpid(), SIGTERM);
    assert_int_equal(run_bounded(f), 0);
}

static void on_prepare(void *userdata)
{
    struct fixture *f = userdata;
    if (++f->prepared == 1)
        loop_timer_arm(f->timer, 0); /* what it arms is waited for in the same round */
}

static void prepare_runs_before_each_wait(void **state)
{
    struct fixture *f = *state;
    f->count = 2;
    assert_int_equal(loop_timer_new(&f->timer, f->loop, on_timer, f), 0);
    loop_set_prepare(f->loop, on_prepare, f);
    assert_int_equal(run_bounded(f), 7);
    assert_int_equal(f->prepared, 1);
}

static int wait_for_cancel(struct worker *w, void *userdata)
{
    int r = fd_wait(worker_cancel_fd(w), POLLIN, -1, deadline_in(10 * USEC_PER_SEC));
    return r > 0 && worker_cancelled(w) ? -ECANCELED : -EIO;
}

static void worker_done(void *userdata, int result)
{
    struct fixture *f = userdata;
    f->worker = worker_free(f->worker);
    f->result = result;
    loop_exit(f->loop, 3);
}

static void cancel_now(void *userdata)
{
    struct fixture *f = userdata;
    worker_cancel(f->worker);
    worker_cancel(f->worker);
}

static void workers_are_cancelled(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(worker_start(&f->worker, f->loop, "test", wait_for_cancel, worker_done, f), 0);
    assert_int_equal(loop_timer_new(&f->timer, f->loop, cancel_now, f), 0);
    loop_timer_arm(f->timer, 20 * USEC_PER_MSEC);
    assert_int_equal(run_bounded(f), 3);
    assert_int_equal(f->result, -ECANCELED);
    assert_null(f->worker);
}

static void a_freed_worker_is_silent(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(worker_start(&f->worker, f->loop, "test", wait_for_cancel, worker_done, f), 0);
    worker_cancel(f->worker);
    f->worker = worker_free(f->worker); /* before the loop has seen its ending */
    struct loop_timer *end;
    assert_int_equal(loop_timer_new(&end, f->loop, give_up, f), 0);
    loop_timer_arm(end, 50 * USEC_PER_MSEC);
    assert_int_equal(run_bounded(f), 99);
    assert_int_equal(f->result, 0);
    loop_timer_free(end);
}

static int hang(struct worker *w, void *userdata)
{
    atomic_bool *go_on = userdata;
    while (!atomic_load(go_on))
        usleep(1000);
    fd_wait(worker_cancel_fd(w), POLLIN, -1, deadline_in(10 * USEC_PER_SEC));
    return 0;
}

/* A worker that hangs is silent; one that waits for somebody is not. */
static void silence_is_noticed(void **state)
{
    struct fixture *f = *state;
    atomic_bool go_on = false;
    char name[16];
    assert_int_equal(progress_silence_usec(name), 0);
    assert_int_equal(worker_start(&f->worker, f->loop, "hanger", hang, NULL, &go_on), 0);
    for (int i = 0; i < 5000 && progress_silence_usec(name) < 50 * USEC_PER_MSEC; i++)
        usleep(1000);
    assert_true(progress_silence_usec(name) >= 50 * USEC_PER_MSEC);
    assert_string_equal(name, "hanger");
    atomic_store(&go_on, true);
    for (int i = 0; i < 5000 && progress_silence_usec(name) > 0; i++)
        usleep(1000);
    usleep(20000);
    assert_int_equal(progress_silence_usec(name), 0);
    worker_cancel(f->worker);
    f->worker = worker_free(f->worker);
    assert_int_equal(progress_silence_usec(name), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(silence_is_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(posts_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_are_answered_or_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_fire_once_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(io_may_be_freed_from_its_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(signals_end_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(prepare_runs_before_each_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_are_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(a_freed_worker_is_silent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

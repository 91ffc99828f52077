/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest whose memory migd moves and whose rest libvirt moves: the controller against a QEMU that is played,
 * and the barrier in which libvirt's hook waits. */
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "libvirt/arrival.h"
#include "vmm/controller-libvirt.h"
#include <json-c/json.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a QEMU ---- */

struct qemu {
    char path[80], said[400]; /* the commands that it got, in order, with a blank after each */
    int listen_fd;
    pthread_mutex_t lock; /* said */
    pthread_t thread;
    _Atomic(const char *) status;
    const char *_Atomic next; /* status after the barrier was let go; NULL: stays. "dies": it is gone */
    atomic_bool ends, ignores_shared;
    unsigned barriers;
};

static bool answer(struct qemu *q, FILE *f, const char *line)
{
    _cleanup_(json_object_putp) struct json_object *o = json_tokener_parse(line);
    const char *command = json_text_or_null(o, "execute");
    if (!command || strcmp(atomic_load(&q->status), "dies") == 0)
        return false;
    if (strcmp(command, "query-status") == 0) {
        fprintf(f, "{\"return\": {\"status\": \"%s\"}}\n", atomic_load(&q->status));
        return fflush(f) == 0;
    }
    if (strcmp(command, "qmp_capabilities") != 0) {
        bool on = strstr(line, "\"state\":true") != NULL;
        pthread_mutex_lock(&q->lock);
        size_t n = strlen(q->said);
        if (strcmp(command, "migrate-set-capabilities") == 0)
            atomic_store(&q->ignores_shared, on);
        snprintf(q->said + n, sizeof q->said - n, "%s ",
                 strcmp(command, "migrate-set-capabilities") == 0 ? (on ? "ignore" : "heed") : command);
        pthread_mutex_unlock(&q->lock);
    }
    fprintf(f, "{\"return\": {}}\n");
    return fflush(f) == 0;
}

static void *be_qemu(void *userdata)
{
    struct qemu *q = userdata;
    while (!atomic_load(&q->ends)) {
        if (fd_wait(q->listen_fd, POLLIN, -1, deadline_in(20 * USEC_PER_MSEC)) < 0)
            continue;
        int fd = accept(q->listen_fd, NULL, NULL);
        FILE *f = fd >= 0 ? fdopen(fd, "r+") : NULL;
        char line[1000];
        if (!f)
            continue;
        fprintf(f, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n");
        fflush(f);
        while (fgets(line, sizeof line, f) && answer(q, f, line))
            ;
        fclose(f);
    }
    return NULL;
}

static void let_go(const char *domain, void *userdata)
{
    struct qemu *q = userdata;
    assert_string_equal(domain, "vm");
    q->barriers++;
    if (q->next)
        atomic_store(&q->status, q->next);
}

static struct controller *start(struct qemu *q, const char *status, const char *next)
{
    struct mig_error err = MIG_ERROR_INIT;
    struct controller *c;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memset(q, 0, sizeof *q);
    pthread_mutex_init(&q->lock, NULL);
    q->status = status;
    q->next = next;
    snprintf(q->path, sizeof q->path, "/tmp/migd-test-native-%d", (int)getpid());
    snprintf(a.sun_path, sizeof a.sun_path, "%s", q->path);
    unlink(q->path);
    q->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(q->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(q->listen_fd, 4), 0);
    assert_int_equal(pthread_create(&q->thread, NULL, be_qemu, q), 0);
    assert_int_equal(controller_new_libvirt(&c, "vm", q->path, 2 * USEC_PER_SEC, let_go, q, &err), 0);
    return c;
}

static void assert_said(struct qemu *q, const char *wanted)
{
    pthread_mutex_lock(&q->lock);
    assert_string_equal(q->said, wanted);
    pthread_mutex_unlock(&q->lock);
}

static void end(struct qemu *q, struct controller *c)
{
    controller_unref(c);
    atomic_store(&q->ends, true);
    pthread_join(q->thread, NULL);
    close(q->listen_fd);
    unlink(q->path);
}

/* Before the guest stands still QEMU is told to leave shared memory out: libvirt's stream may begin as soon
 * as the hook has been let go. */
static void test_source(void **state)
{
    struct qemu q;
    struct controller *c = start(&q, "running", NULL);
    assert_int_equal(c->ops->pause(c, deadline_in(USEC_PER_SEC), NULL), 0);
    assert_said(&q, "ignore stop ");
    atomic_store(&q.status, "paused");
    assert_int_equal(c->ops->resume(c, deadline_in(USEC_PER_SEC), NULL), 0);
    assert_said(&q, "ignore stop cont heed ");
    assert_int_equal(q.barriers, 0);
    assert_true(c->ops->resume_settles && !controller_has_state(c));
    end(&q, c);
}

static void test_destination(void **state)
{
    struct qemu q;
    struct controller *c = start(&q, "inmigrate", "running");
    assert_int_equal(c->ops->alive(c, deadline_in(USEC_PER_SEC), NULL), 0);
    assert_int_equal(c->ops->resume(c, deadline_in(USEC_PER_SEC), NULL), 0);
    assert_int_equal(q.barriers, 1);
    assert_said(&q, "ignore heed "); /* the next migration may be one of QEMU's alone */
    end(&q, c);
}

/* After a failure nothing runs there: QEMU has gone by itself, or is told to. */
static void test_no_life(void **state)
{
    struct qemu q;
    struct mig_error err = MIG_ERROR_INIT;
    struct controller *c = start(&q, "inmigrate", "dies");
    assert_true(c->ops->resume(c, deadline_in(USEC_PER_SEC), &err) < 0);
    assert_non_null(strstr(err.message, "gave the arrival of vm up"));
    end(&q, c);

    mig_error_clear(&err);
    c = start(&q, "inmigrate", NULL);
    assert_true(c->ops->resume(c, deadline_in(50 * USEC_PER_MSEC), &err) < 0);
    assert_int_equal(err.code, MIG_ERR_CONTROLLER_TIMEOUT);
    assert_said(&q, "ignore quit ");
    end(&q, c);
}

/* A guest that libvirt was told to leave paused has arrived all the same. */
static void test_stays_paused(void **state)
{
    struct qemu q;
    struct controller *c = start(&q, "inmigrate", "paused");
    assert_int_equal(c->ops->resume(c, deadline_in(50 * USEC_PER_MSEC), NULL), 0);
    end(&q, c);
}

/* A migd that comes after the one which let the hook go finds a QEMU whose state is all there. It runs when
 * libvirt says so: libvirt may still give it up, and let the guest go on at the source. */
static void test_arrived_before(void **state)
{
    struct qemu q;
    struct controller *c = start(&q, "paused", NULL);
    c->arrives = true;
    assert_int_equal(c->ops->resume(c, deadline_in(50 * USEC_PER_MSEC), NULL), 0);
    assert_int_equal(q.barriers, 0);
    assert_said(&q, "heed ");
    end(&q, c);
}

/* ---- the barrier ---- */

struct arriving {
    struct arrivals *all;
    struct arrival_wait w;
    struct mig_error err;
    int result;
    atomic_uint settled;
    int settle_result;
    atomic_int word; /* of the source that was asked */
    pthread_t thread;
};

static int settle(void *userdata)
{
    struct arriving *a = userdata;
    atomic_fetch_add(&a->settled, 1);
    return a->settle_result;
}

static enum arrival_word hear(void *userdata)
{
    struct arriving *a = userdata;
    return (enum arrival_word)atomic_load(&a->word);
}

static void *arrive(void *userdata)
{
    struct arriving *a = userdata;
    a->result = arrivals_wait(a->all, &a->w, &a->err);
    return NULL;
}

static void begin_with(struct arriving *a, uint64_t first_usec, int settle_result, bool asked)
{
    memset(a, 0, sizeof *a);
    a->w.hear = asked ? hear : NULL;
    assert_int_equal(arrivals_new(&a->all), 0);
    assert_int_equal(domain_new(&a->w.domain, "vm", true, NULL), 0);
    a->w.first_usec = first_usec;
    a->w.cancel_fd = eventfd(0, EFD_CLOEXEC);
    a->w.settle = settle;
    a->w.userdata = a;
    a->settle_result = settle_result;
    assert_int_equal(pthread_create(&a->thread, NULL, arrive, a), 0);
}

static void begin(struct arriving *a, uint64_t first_usec, int settle_result)
{
    begin_with(a, first_usec, settle_result, false);
}

static int finish(struct arriving *a)
{
    pthread_join(a->thread, NULL);
    close(a->w.cancel_fd);
    domain_unref(a->w.domain);
    arrivals_free(a->all);
    return a->result;
}

static void test_let_go(void **state)
{
    struct arriving a;
    begin(&a, 10 * USEC_PER_SEC, 0);
    assert_int_equal(domain_borrow(a.w.domain, "0123", NULL), 0);
    usleep(60000);
    arrivals_let_go("another", a.all);
    usleep(60000);
    arrivals_let_go("vm", a.all);
    assert_int_equal(finish(&a), 0);
    assert_int_equal(a.settled, 0);
}

static void test_migration_ends(void **state)
{
    struct arriving a;
    begin(&a, 10 * USEC_PER_SEC, 0);
    assert_int_equal(domain_borrow(a.w.domain, "0123", NULL), 0);
    usleep(100000);
    domain_give_back(a.w.domain);
    assert_true(finish(&a) < 0);
    assert_int_equal(a.err.code, MIG_ERR_PEER_LOST);
}

static void test_nobody_comes(void **state)
{
    struct arriving a;
    begin(&a, 50 * USEC_PER_MSEC, 0);
    assert_int_equal(finish(&a), 0);
    assert_int_equal(a.settled, 1);
}

/* Somebody begins at the last moment: it is waited for. */
static void test_somebody_comes_late(void **state)
{
    struct arriving a;
    begin(&a, 10 * USEC_PER_MSEC, -EBUSY);
    while (atomic_load(&a.settled) < 2)
        usleep(1000);
    arrivals_let_go("vm", a.all);
    assert_int_equal(finish(&a), 0);
}

static void test_cancelled(void **state)
{
    struct arriving a;
    begin(&a, 10 * USEC_PER_SEC, 0);
    assert_int_equal(eventfd_write(a.w.cancel_fd, 1), 0);
    assert_true(finish(&a) < 0);
    assert_int_equal(a.err.code, MIG_ERR_CANCELLED);
}

/* The source that was asked ends before it begins: QEMU moves the guest at once, unless it must not. */
static void test_source_gives_up(void **state)
{
    static const enum arrival_word words[] = {ARRIVAL_WORD_WHOLE, ARRIVAL_WORD_GONE, ARRIVAL_WORD_STAYS};
    for (size_t i = 0; i < ELEMENTS(words); i++) {
        struct arriving a;
        begin_with(&a, USEC_INFINITY / 2, 0, true);
        atomic_store(&a.word, words[i]);
        bool stays = words[i] == ARRIVAL_WORD_STAYS;
        assert_int_equal(finish(&a) < 0, stays);
        assert_int_equal(a.settled, !stays);
        if (stays)
            assert_int_equal(a.err.code, MIG_ERR_PEER_LOST);
    }
}

/* It has begun and ends without a decision: QEMU moves the guest only when the source says that it may. */
static void test_source_fails(void **state)
{
    static const enum arrival_word words[] = {ARRIVAL_WORD_WHOLE, ARRIVAL_WORD_GONE, ARRIVAL_WORD_STAYS};
    for (size_t i = 0; i < ELEMENTS(words); i++) {
        struct arriving a;
        begin_with(&a, USEC_INFINITY / 2, 0, true);
        assert_int_equal(domain_borrow(a.w.domain, "0123", NULL), 0);
        usleep(100000);
        domain_give_back(a.w.domain);
        usleep(60000);
        assert_int_equal(a.settled, 0); /* it has not said anything yet */
        atomic_store(&a.word, words[i]);
        bool whole = words[i] == ARRIVAL_WORD_WHOLE;
        assert_int_equal(finish(&a) == 0, whole);
        assert_int_equal(a.settled, whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source),
        cmocka_unit_test(test_destination),
        cmocka_unit_test(test_no_life),
        cmocka_unit_test(test_stays_paused),
        cmocka_unit_test(test_arrived_before),
        cmocka_unit_test(test_let_go),
        cmocka_unit_test(test_migration_ends),
        cmocka_unit_test(test_nobody_comes),
        cmocka_unit_test(test_somebody_comes_late),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_source_gives_up),
        cmocka_unit_test(test_source_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

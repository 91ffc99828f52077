/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose place is taken when all are: never that of a host that has few. */
#include "incoming/admission.h"
#include "base/fds.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>

struct guest {
    struct admission_place place;
    int ours, theirs;
};

static void enter(struct admission *a, struct guest *g, const char *peer)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    g->ours = pair[0];
    g->theirs = pair[1];
    admission_enter(a, &g->place, peer, g->ours);
}

static bool is_ended(const struct guest *g)
{
    struct pollfd p = {.fd = g->theirs, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void leave(struct admission *a, struct guest *g, bool ended)
{
    assert_int_equal(admission_leave(a, &g->place), ended);
    assert_int_equal(admission_leave(a, &g->place), ended); /* once more is harmless */
    close_fd(&g->ours);
    close_fd(&g->theirs);
}

static void many_of_one_host(void **state)
{
    struct admission a;
    struct guest few, many[3], late[2];
    admission_init(&a, 4);
    enter(&a, &few, "10.0.0.1:40000");
    enter(&a, &many[0], "10.0.0.2:40000");
    enter(&a, &many[1], "10.0.0.2:40001");
    enter(&a, &many[2], "10.0.0.2:40002");
    assert_false(is_ended(&many[0]));
    enter(&a, &late[0], "10.0.0.3:1");
    assert_true(is_ended(&many[0])); /* the first of the host with most, not the first of all */
    assert_false(is_ended(&few) || is_ended(&many[1]) || is_ended(&many[2]) || is_ended(&late[0]));
    leave(&a, &many[0], true);
    leave(&a, &many[2], false);
    enter(&a, &late[1], "10.0.0.3:2"); /* there is room */
    assert_false(is_ended(&few) || is_ended(&many[1]) || is_ended(&late[0]) || is_ended(&late[1]));
    leave(&a, &late[1], false);
    leave(&a, &few, false);
    leave(&a, &many[1], false);
    leave(&a, &late[0], false);
    assert_null(a.first);
    assert_int_equal(a.taken, 0);
    admission_destroy(&a);
}

static void the_last_may_leave_first(void **state)
{
    struct admission a;
    struct guest g[4];
    admission_init(&a, 2);
    enter(&a, &g[0], "[fe80::1]:7");
    enter(&a, &g[1], "unix (pid 7)");
    leave(&a, &g[1], false);
    enter(&a, &g[2], "unix (pid 8)");
    enter(&a, &g[3], "unix (pid 9)"); /* another process, but the same host */
    assert_true(is_ended(&g[2]));
    assert_false(is_ended(&g[0]) || is_ended(&g[3]));
    leave(&a, &g[0], false);
    leave(&a, &g[3], false);
    leave(&a, &g[2], true);
    assert_null(a.first);
    assert_int_equal(a.taken, 0);
    admission_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_of_one_host),
        cmocka_unit_test(the_last_may_leave_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

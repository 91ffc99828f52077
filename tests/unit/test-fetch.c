/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking other hosts for the memory of a guest that arrives, and which host it is that asks. The peers are
 * threads that say what they are told to. */
#include "base/clock.h"
#include "base/fds.h"
#include "libvirt/announced.h"
#include "libvirt/fetch.h"
#include "libvirt/native-peers.h"
#include "migration/dialogue.h"
#include "transport/security.h"
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* ---- a list ---- */

static void test_list(void **state)
{
    char peer[NATIVE_PEERS_MAX];
    struct mig_error err = MIG_ERROR_INIT;
    assert_true(native_peers_nth("  a b:1\t[::1]:2 ", 1, peer));
    assert_string_equal(peer, "b:1");
    assert_true(native_peers_nth("  a b:1\t[::1]:2 ", 2, peer));
    assert_string_equal(peer, "[::1]:2");
    assert_false(native_peers_nth("  a b:1\t[::1]:2 ", 3, peer));
    assert_false(native_peers_nth("", 0, peer));
    assert_int_equal(native_peers_check("a b:1 [::1]:2", &err), 0);
    assert_int_equal(native_peers_check("", &err), 0);
    assert_true(native_peers_check("a unix:/run/x", &err) < 0);
    assert_non_null(strstr(err.message, "unix:/run/x"));
    assert_true(native_peers_check("a :7", NULL) < 0);
}

static void find(const char *from, const char *list, const char *expected)
{
    char peer[NATIVE_PEERS_MAX];
    struct mig_error err = MIG_ERROR_INIT;
    struct channel *c;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(channel_from_socket(&c, pair[0], from, -1), 0);
    int r = native_peers_find(list, c, peer, &err);
    if (expected)
        assert_string_equal(peer, expected);
    assert_int_equal(r == 0, expected != NULL);
    if (!expected)
        assert_int_equal(err.code, MIG_ERR_NOT_ALLOWED);
    channel_free(c);
    close(pair[1]);
}

static bool has_address(const char *name)
{
    struct addrinfo *found;
    if (getaddrinfo(name, NULL, NULL, &found) != 0)
        return false;
    freeaddrinfo(found);
    return true;
}

static void test_who_asks(void **state)
{
    find("10.1.2.3:40000", "10.1.2.4 10.1.2.3:16509", "10.1.2.3:16509");
    find("[::ffff:10.1.2.3]:40000", "10.1.2.3", "10.1.2.3");
    find("[fe80::1]:40000", "10.1.2.3 [fe80:0::1]:7", "[fe80:0::1]:7");
    if (has_address("localhost")) /* a machine without /etc/hosts knows no name */
        find("127.0.0.1:40000", "localhost", "localhost");
    else
        print_message("# localhost has no address here: names were not tried\n");
    find("10.1.2.3:40000", "10.1.2.30 10.1.2.4", NULL);
    find("10.1.2.3:40000", "", NULL);
    find("unix (pid 7)", "10.1.2.3", NULL);
}

/* ---- a peer ---- */

struct peer {
    int listen_fd;
    char *address;
    const char *answer; /* JSON of its HELLO; NULL: it closes */
    const char *end;    /* JSON of what it says when it is told to; NULL: it closes */
    char asked_uuid[40], asked_name[40];
    int go_fd; /* closed: it ends */
    pthread_t thread;
};

static void say(struct frame_stream *s, enum wire_type type, const char *text)
{
    struct json_object *o = json_tokener_parse(text);
    assert_non_null(o);
    assert_int_equal(frame_send_json(s, type, o, NULL), 0);
    json_object_put(o);
}

static void *serve(void *userdata)
{
    struct peer *p = userdata;
    struct channel *c;
    struct frame_stream s;
    struct wire_header h;
    struct json_object *hello;
    char go;
    assert_true(fd_wait(p->listen_fd, POLLIN, -1, deadline_in(60 * USEC_PER_SEC)) > 0);
    int fd = accept(p->listen_fd, NULL, NULL);
    assert_int_equal(channel_from_socket(&c, fd, "asker", -1), 0);
    frame_stream_init(&s, c, true);
    assert_int_equal(frame_recv(&s, &h, NULL), 0);
    assert_int_equal(frame_recv_json(&s, &h, &hello, NULL), 0);
    json_copy_string(hello, "fetch", p->asked_uuid, sizeof p->asked_uuid);
    json_copy_string(hello, "domain", p->asked_name, sizeof p->asked_name);
    json_object_put(hello);
    if (p->answer) {
        say(&s, WIRE_HELLO, p->answer);
        assert_int_equal(read(p->go_fd, &go, 1), 0); /* until it is closed */
        if (p->end)
            say(&s, WIRE_MESSAGE, p->end);
    }
    channel_free(c);
    return NULL;
}

static void peer_start(struct peer *p, const char *answer, const char *end, int go_fd)
{
    *p = (struct peer){.answer = answer, .end = end, .go_fd = go_fd};
    assert_int_equal(channel_listen(&p->listen_fd, &p->address, "127.0.0.1:0", NULL), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void peer_end(struct peer *p)
{
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
    free(p->address);
}

static struct fetch_request request(const char *peers)
{
    return (struct fetch_request){
        .peers = peers, .uuid = "u-u", .name = "vm", .timeout_usec = 60 * USEC_PER_SEC, .cancel_fd = -1};
}

/* A port where nobody listens. */
static void nobody(char *text, size_t size)
{
    char *address;
    int fd;
    assert_int_equal(channel_listen(&fd, &address, "127.0.0.1:0", NULL), 0);
    snprintf(text, size, "%s", address);
    close(fd);
    free(address);
}

static void answers(const char *end, enum arrival_word expected)
{
    struct peer has_it_not, has_it;
    struct fetch *f = NULL;
    struct mig_error why = MIG_ERROR_INIT;
    char peers[NATIVE_PEERS_MAX], dead[64];
    int go[2];
    assert_int_equal(pipe(go), 0);
    nobody(dead, sizeof dead);
    peer_start(&has_it_not, "{\"error\": \"NoSuchDomain\", \"text\": \"no\", \"hint\": \"\"}", NULL, go[0]);
    peer_start(&has_it, "{\"ok\": true, \"fetch\": \"begun\"}", end, go[0]);
    snprintf(peers, sizeof peers, "%s %s %s", dead, has_it_not.address, has_it.address);
    const struct fetch_request q = request(peers);
    assert_int_equal(fetch_ask(&f, &q, &why), FETCH_COMES);
    assert_string_equal(has_it.asked_uuid, "u-u");
    assert_string_equal(has_it.asked_name, "vm");
    assert_int_equal(fetch_hear(f), ARRIVAL_WORD_NONE);
    close(go[1]);
    peer_end(&has_it);
    enum arrival_word word;
    for (uint64_t until = deadline_in(60 * USEC_PER_SEC);
         (word = fetch_hear(f)) == ARRIVAL_WORD_NONE && now_usec() < until;)
        usleep(1000);
    assert_int_equal(word, expected);
    assert_int_equal(fetch_hear(f), expected);
    fetch_free(f);
    peer_end(&has_it_not);
    close(go[0]);
}

static void test_answers(void **state)
{
    answers("{\"message\": \"fetch-end\", \"whole\": true}", ARRIVAL_WORD_WHOLE);
    answers("{\"message\": \"fetch-end\", \"whole\": false}", ARRIVAL_WORD_STAYS);
    answers("{\"message\": \"something\"}", ARRIVAL_WORD_GONE);
    answers(NULL, ARRIVAL_WORD_GONE);
}

/* Nobody: the reason of the host that has the guest, whatever the others say. */
static void refused(const char *answer, const char *expected)
{
    struct peer p;
    struct fetch *f = NULL;
    struct mig_error why = MIG_ERROR_INIT;
    char peers[NATIVE_PEERS_MAX], dead[64];
    int go[2];
    assert_int_equal(pipe(go), 0);
    close(go[1]);
    nobody(dead, sizeof dead);
    peer_start(&p, answer, NULL, go[0]);
    snprintf(peers, sizeof peers, "%s %s", p.address, dead);
    const struct fetch_request q = request(peers);
    assert_int_equal(fetch_ask(&f, &q, &why), FETCH_NOBODY);
    assert_null(f);
    if (!strstr(why.message, expected))
        fail_msg("%s", why.message);
    peer_end(&p);
    close(go[0]);
}

static void test_refused(void **state)
{
    refused("{\"error\": \"WrongState\", \"text\": \"it is paused\", \"hint\": \"\"}", "it is paused");
    refused("{\"error\": \"NoSuchDomain\", \"text\": \"not here\", \"hint\": \"\"}",
            "onnect"); /* the dead one */
    refused("{\"error\": \"PeerProtocol\", \"text\": \"HELLO is neither\", \"hint\": \"\"}", "does not know");
    refused("{\"ok\": true, \"fetch\": \"perhaps\"}", "should not know");
    refused(NULL, "");
}

static void test_receives(void **state)
{
    struct peer p;
    struct mig_error why = MIG_ERROR_INIT;
    int go[2];
    assert_int_equal(pipe(go), 0);
    close(go[1]);
    peer_start(&p, "{\"ok\": true, \"fetch\": \"receives\"}", NULL, go[0]);
    assert_int_equal(fetch_ask_receives(NULL, p.address, -1, &why), 0);
    peer_end(&p);
    peer_start(&p, "{\"error\": \"NotSupported\", \"text\": \"guests do not wait\", \"hint\": \"\"}", NULL,
               go[0]);
    assert_true(fetch_ask_receives(NULL, p.address, -1, &why) < 0);
    assert_non_null(strstr(why.message, "guests do not wait"));
    peer_end(&p);
    peer_start(&p, "{\"ok\": true, \"fetch\": \"receives\"}", NULL, go[0]);
    assert_int_equal(fetch_announce(NULL, p.address, "some uuid", true, -1, &why), 0);
    peer_end(&p);
    close(go[0]);
}

static void test_announced(void **state)
{
    struct announced *a;
    char uuid[40];
    assert_int_equal(announced_new(&a), 0);
    assert_false(announced_take(a, "one", 10));
    announced_add(a, "one", 100);
    announced_add(a, "two", 100);
    assert_true(announced_take(a, "one", 99));
    assert_false(announced_take(a, "one", 99)); /* it has come */
    assert_false(announced_take(a, "two", 100));
    announced_add(a, "two", 100);
    announced_add(a, "two", 200); /* once more, and not twice */
    assert_true(announced_take(a, "two", 150));
    assert_false(announced_take(a, "two", 150));
    assert_false(announced_take(a, "", 0));
    for (unsigned i = 0; i <= ANNOUNCED_MAX; i++) {
        snprintf(uuid, sizeof uuid, "guest %u", i);
        announced_add(a, uuid, 1000 + i);
    }
    assert_false(announced_take(a, "guest 0", 500)); /* the oldest makes room */
    assert_true(announced_take(a, "guest 1", 500));
    assert_true(announced_take(a, uuid, 500));
    announced_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),    cmocka_unit_test(test_who_asks), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_receives), cmocka_unit_test(test_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * link-watch with real TCP over a network of this test: two network namespaces with a TUN device each, and a
 * thread between that passes the packets on, late or not at all.
 */
#include "base/clock.h"
#include "base/fds.h"
#include "transport/link-watch.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <cmocka.h>

#define PACKETS       1024u
#define PACKET_BYTES  2048u
#define SILENCE_USEC  (2 * USEC_PER_SEC)
#define PATIENCE_USEC (20 * USEC_PER_SEC)
#define ONE_WAY_USEC  (150 * USEC_PER_MSEC)

/* ---- the network ---- */

static struct packet {
    uint64_t due_usec;
    size_t size;
    int to; /* which device */
    uint8_t bytes[PACKET_BYTES];
} packets[PACKETS];
static uint64_t first, next; /* those in between are on their way, in the order in which they come out */
static int tun[2] = {-1, -1}, probe_socket[2];
static _Atomic bool cut, end;
static pthread_t relay_thread;

static void take_in(int side)
{
    struct packet *p = &packets[next % PACKETS];
    ssize_t n = read(tun[side], p->bytes, sizeof p->bytes);
    if (n <= 0 || cut || next - first == PACKETS - 1)
        return;
    p->size = (size_t)n;
    p->to = !side;
    p->due_usec = now_usec() + ONE_WAY_USEC;
    next++;
}

static void *relay(void *userdata)
{
    while (!end) {
        struct pollfd fds[] = {{.fd = tun[0], .events = POLLIN}, {.fd = tun[1], .events = POLLIN}};
        uint64_t until = now_usec() + 20 * USEC_PER_MSEC;
        if (first < next)
            until = MIN(until, packets[first % PACKETS].due_usec);
        poll(fds, 2, deadline_poll_msec(until));
        for (int i = 0; i < 2; i++)
            if (fds[i].revents & POLLIN)
                take_in(i);
        for (; first < next && packets[first % PACKETS].due_usec <= now_usec(); first++) {
            const struct packet *p = &packets[first % PACKETS];
            if (!cut && write(tun[p->to], p->bytes, p->size) < 0 && errno != EAGAIN)
                perror("writing a packet");
        }
    }
    return NULL;
}

static struct sockaddr_in address(int side, uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(0x0a000001u + (unsigned)side)};
}

/* In a namespace of its own, where the calling thread then is. */
static int make_side(int side)
{
    struct ifreq ifr = {.ifr_name = "link", .ifr_flags = IFF_TUN | IFF_NO_PI};
    struct sockaddr_in here = address(side, 0),
                       mask = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(~255u)};
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    int s = probe_socket[side] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tun[side] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (s < 0 || tun[side] < 0 || ioctl(tun[side], TUNSETIFF, &ifr) < 0)
        return -errno;
    memcpy(&ifr.ifr_addr, &here, sizeof here);
    if (ioctl(s, SIOCSIFADDR, &ifr) < 0)
        return -errno;
    memcpy(&ifr.ifr_netmask, &mask, sizeof mask);
    if (ioctl(s, SIOCSIFNETMASK, &ifr) < 0)
        return -errno;
    ifr.ifr_flags = IFF_UP;
    return ioctl(s, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/* ---- a connection over it ---- */

struct pair {
    struct channel *here;
    int there; /* nobody reads from it */
    struct link_watch *watch;
};

static void set_up(struct pair *p)
{
    static uint16_t port = 4000;
    struct sockaddr_in sa = address(0, ++port);
    cut = false;
    /* The sockets were made where their side is; each test takes a new one made beside them. */
    int listener = probe_socket[0], out = probe_socket[1];
    probe_socket[0] = probe_socket[1] = -1;
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect(out, (struct sockaddr *)&sa, sizeof sa), 0);
    p->there = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(p->there >= 0);
    close(listener);
    assert_int_equal(channel_from_socket(&p->here, out, NULL, -1), 0);
    assert_false(p->here->local);
    assert_int_equal(link_watch_new(&p->watch, &p->here, 1, SILENCE_USEC), 0);
}

static void tear_down(struct pair *p)
{
    p->watch = link_watch_free(p->watch);
    channel_free(p->here);
    close(p->there);
}

/* The seconds until it fires; patience, when it does not. */
static uint64_t await_fire(const struct pair *p, uint64_t patience_usec)
{
    uint64_t began = now_usec();
    while (!link_watch_has_fired(p->watch) && now_usec() - began < patience_usec)
        usleep(20000);
    return now_usec() - began;
}

static int new_network(void **state)
{
    for (int i = 0; i < 2; i++) {
        close_fd(&tun[i]);
        int r = make_side(i);
        if (r < 0) {
            fprintf(stderr, "a network namespace with a TUN device: %s\n", strerror(-r));
            return r;
        }
    }
    end = false;
    first = next = 0;
    return -pthread_create(&relay_thread, NULL, relay, NULL);
}

static int drop_network(void **state)
{
    end = true;
    return pthread_join(relay_thread, NULL);
}

static void test_data_unanswered(void **state)
{
    struct pair p;
    char byte = 'x';
    set_up(&p);
    assert_false(await_fire(&p, USEC_PER_SEC) < USEC_PER_SEC);
    cut = true;
    assert_int_equal(p.here->ops->sendv(p.here, &(struct iovec){&byte, 1}, 1), 0);
    uint64_t took = await_fire(&p, PATIENCE_USEC);
    assert_true(link_watch_has_fired(p.watch));
    print_message("data: noticed after %llu ms\n", (unsigned long long)(took / USEC_PER_MSEC));
    assert_int_equal(p.here->ops->recvv(p.here, &(struct iovec){&byte, 1}, 1), -EPIPE);
    tear_down(&p);
}

static void test_idle_and_cut(void **state)
{
    struct pair p;
    set_up(&p);
    /* Keepalives are answered: silence of both ends is in order. */
    await_fire(&p, 2 * SILENCE_USEC);
    assert_false(link_watch_has_fired(p.watch));
    cut = true;
    uint64_t took = await_fire(&p, PATIENCE_USEC);
    assert_true(link_watch_has_fired(p.watch));
    print_message("idle: noticed after %llu ms\n", (unsigned long long)(took / USEC_PER_MSEC));
    tear_down(&p);
}

/* Its window closes, and the probes of it are soon more than the silence apart. */
static void test_receiver_that_does_not_read(void **state)
{
    static char much[4 << 20];
    struct pair p;
    set_up(&p);
    /* The kernel's own patience with such a receiver is not what is looked at. */
    assert_int_equal(
        setsockopt(p.here->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){60000}, sizeof(unsigned)), 0);
    uint64_t began = now_usec();
    /* Until nothing moves any more; then it stands like this. */
    while (send(p.here->fd, much, sizeof much, MSG_DONTWAIT | MSG_NOSIGNAL) > 0 ||
           now_usec() - began < 2 * USEC_PER_SEC)
        usleep(20000);
    await_fire(&p, 5 * SILENCE_USEC);
    struct tcp_info info = {0};
    assert_int_equal(getsockopt(p.here->fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}), 0);
    assert_int_equal(info.tcpi_state, TCP_ESTABLISHED);
    assert_true(info.tcpi_backoff >= 3); /* it was the case that is meant */
    assert_false(link_watch_has_fired(p.watch));
    tear_down(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_data_unanswered, new_network, drop_network),
        cmocka_unit_test_setup_teardown(test_idle_and_cut, new_network, drop_network),
        cmocka_unit_test_setup_teardown(test_receiver_that_does_not_read, new_network, drop_network),
    };
    signal(SIGPIPE, SIG_IGN);
    if (new_network(NULL) < 0) {
        fprintf(stderr, "SKIP: this test makes networks of its own, and may not here\n");
        return 77;
    }
    drop_network(NULL);
    for (int i = 0; i < 2; i++)
        close_fd(&probe_socket[i]);
    alarm(180);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages that arrive for a region whose file system is full: an error that names the region, over every kind
 * of connection and packed too, and never a signal. The region lies on a tmpfs of its own.
 */
#include "base/clock.h"
#include "base/fds.h"
#include "config/config.h"
#include "incoming/apply.h"
#include "transport/codec.h"
#include "transport/security.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <cmocka.h>

#define PAGE          4096u
#define REGION_PAGES  512u
#define ROOM_PAGES    100u
#define EXTENTS       16u
#define DEADLINE_USEC (30 * USEC_PER_SEC)

static char scratch[] = "/tmp/migd-full-XXXXXX";

static struct security *host(const char *name)
{
    struct security *s;
    struct config c;
    char folder[128];
    config_init(&c);
    snprintf(folder, sizeof folder, "%s/ca/%s", scratch, name);
    assert_int_equal(config_set(&c, "Peer", "Security", "tls", "test", NULL), 0);
    assert_int_equal(config_set(&c, "Peer", "CertificateFolder", folder, "test", NULL), 0);
    assert_int_equal(security_new(&s), 0);
    security_configure(s, &c, NULL);
    return s;
}

struct sender {
    bool tls, packed;
    struct security *security;
    char *address;
    bool sent_all;
};

static uint8_t pages[EXTENTS * PAGE], packed[CODEC_MAX_BYTES];

static int send_some(struct frame_stream *s, const struct wire_extent *table, bool pack)
{
    struct wire_header h = {.type = pack ? WIRE_PACKED : WIRE_PAGES, .count = EXTENTS};
    size_t size = sizeof pages;
    if (pack) {
        struct codec_state *state;
        assert_int_equal(codec_state_new(&state), 0);
        int r = codec_pack(state, CODEC_LZ4, pages, sizeof pages, packed, sizeof packed, &size);
        codec_state_free(state);
        if (r < 0)
            return r;
        h.offset = CODEC_LZ4;
    }
    struct iovec iov[] = {{(void *)table, EXTENTS * sizeof *table}, {pack ? packed : pages, size}};
    h.length = iov[0].iov_len + iov[1].iov_len;
    return frame_send(s, &h, iov, 2);
}

/* Every second page, so that no two extents touch. Twice: what is present is not asked for again. */
static void *send_pages(void *userdata)
{
    struct sender *s = userdata;
    struct channel *c = NULL;
    struct frame_stream stream;
    int r = s->tls ? security_connect(s->security, &c, s->address, NULL, DEADLINE_USEC, -1, NULL)
                   : channel_connect(&c, s->address, DEADLINE_USEC, -1, NULL);
    if (r < 0)
        return NULL;
    frame_stream_init(&stream, c, true);
    for (unsigned at = 0; at < REGION_PAGES / 2 && r == 0; at += EXTENTS) {
        struct wire_extent table[EXTENTS];
        for (unsigned i = 0; i < EXTENTS; i++)
            table[i] = (struct wire_extent){htole64((at + i) * 2ull * PAGE), htole64(PAGE)};
        r = send_some(&stream, table, s->packed);
        if (r == 0)
            r = send_some(&stream, table, s->packed);
    }
    s->sent_all = r == 0;
    channel_free(c);
    return NULL;
}

static void no_fence(void *userdata, unsigned connection, uint32_t round, uint64_t of)
{
}

/* The region, on a file system with room for so many pages, and what came of filling it. */
static int arrive(bool tls, bool pack, unsigned room_pages, struct mig_error *err, uint64_t *ret_pages)
{
    char place[96], file[128], options[64];
    snprintf(place, sizeof place, "%s/memory", scratch);
    snprintf(file, sizeof file, "%s/ram", place);
    snprintf(options, sizeof options, "size=%u,huge=never", room_pages * PAGE);
    assert_int_equal(mount("tmpfs", place, "tmpfs", 0, options), 0);
    _cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, REGION_PAGES * PAGE), 0);
    struct region *region;
    assert_int_equal(region_new_from_fd(&region, "ram", fd, 0, 0, true, err), 0);

    struct sender sender = {.tls = tls, .packed = pack};
    struct security *server = tls ? host("host-b") : NULL;
    sender.security = tls ? host("host-a") : NULL;
    int listener;
    assert_int_equal(channel_listen(&listener, &sender.address, "127.0.0.1:0", NULL), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_pages, &sender), 0);
    assert_true(fd_wait(listener, POLLIN, -1, deadline_in(DEADLINE_USEC)) > 0);
    struct channel *in;
    assert_int_equal(channel_from_socket(&in, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "the source", -1),
                     0);
    if (tls) {
        in->deadline_usec = deadline_in(DEADLINE_USEC);
        assert_int_equal(security_accept(server, &in, err), 0);
        in->deadline_usec = 0;
    }
    struct frame_stream stream;
    frame_stream_init(&stream, in, true);
    struct apply_counters counters = {0};
    struct apply apply = {.regions = &region, .nregions = 1, .counters = &counters, .fence = no_fence};
    int r = apply_run(&apply, 0, &stream, err);
    channel_free(in);
    close_fd(&listener);
    pthread_join(thread, NULL);
    *ret_pages = counters.normal_pages;
    for (unsigned i = 0; r == 0 && i < REGION_PAGES / 2; i++)
        if (memcmp(region->map + i * 2ull * PAGE, pages + (i % EXTENTS) * PAGE, PAGE) != 0)
            fail_msg("page %u has other bytes", i * 2);
    security_free(server);
    security_free(sender.security);
    free(sender.address);
    region_unref(region);
    close_fd(&fd);
    assert_int_equal(umount(place), 0);
    return r;
}

static void test_every_way(void **state)
{
    for (int way = 0; way < 4; way++) {
        bool tls = way & 1, pack = way & 2;
        struct mig_error err = MIG_ERROR_INIT;
        uint64_t n;
        print_message("%s, %s\n", tls ? "TLS" : "plain", pack ? "packed" : "as it is");
        int r = arrive(tls, pack, REGION_PAGES, &err, &n);
        if (r != 0)
            fail_msg("with room enough: %s", err.message);
        assert_int_equal(n, REGION_PAGES);
        r = arrive(tls, pack, ROOM_PAGES, &err, &n);
        assert_int_equal(r, -ENOMEM);
        assert_int_equal(err.code, MIG_ERR_NO_MEMORY);
        assert_non_null(strstr(err.message, "memory region ram"));
        assert_non_null(strstr(err.hint, "raise the size of its file system"));
        assert_true(n <= 2 * ROOM_PAGES);
        print_message("  %s -> %s\n", err.message, err.hint);
    }
}

static void run(const char *format, ...) _printf_(1, 2);
static void run(const char *format, ...)
{
    char command[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("%s", command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_way)};
    const char *top = getenv("TOP_SRCDIR");
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        fprintf(stderr, "SKIP: a file system cannot be mounted here: %s\n", strerror(errno));
        return 77;
    }
    if (!mkdtemp(scratch))
        return 1;
    alarm(120);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof pages; i++)
        pages[i] = (uint8_t)(1 + i / PAGE + (i % PAGE) / 64);
    run("cd %s && mkdir memory && %s/contrib/make-test-ca ca host-a host-b,127.0.0.1 >&2", scratch,
        top ? top : ".");
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    run("rm -r %s", scratch);
    return r;
}

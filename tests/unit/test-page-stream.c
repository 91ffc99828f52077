/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages from end to end in one process: page_stream on one side of real sockets, apply_run on the other,
 * memory equal afterwards. */
#include "base/clock.h"
#include "base/fds.h"
#include "base/ratelimit.h"
#include "incoming/apply.h"
#include "incoming/populate-beside.h"
#include "memory/pages.h"
#include "outgoing/page-stream.h"
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <xxhash.h>
#include <cmocka.h>

#define NREGIONS  3
#define LINKS_MAX 4
#define PAGE      REGION_PAGE_SIZE
static const uint64_t region_pages[NREGIONS] = {5000, 1, 2311};

static uint64_t random_state = 88172645463325252u;
static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static bool repetitive; /* pages that can be packed */
static void fill_page(uint8_t *page)
{
    for (size_t i = 0; i < PAGE; i += 8) {
        uint64_t r = repetitive && i % 512 ? i / 512 : random_u64() | 1;
        memcpy(page + i, &r, 8);
    }
}

struct side {
    struct region *r[NREGIONS];
};

static void make_side(struct side *s, const char *name)
{
    for (int i = 0; i < NREGIONS; i++) {
        struct mig_error err = MIG_ERROR_INIT;
        assert_int_equal(region_new_made(&s->r[i], name, region_pages[i] * PAGE, 0, -1, &err), 0);
        s->r[i]->index = (uint32_t)i;
    }
}

static void drop_side(struct side *s)
{
    for (int i = 0; i < NREGIONS; i++)
        s->r[i] = region_unref(s->r[i]);
}

/* Stretches of holes, of zero pages that are there, of random pages, and of a mix. */
static void fill_source(struct side *s)
{
    for (int i = 0; i < NREGIONS; i++) {
        struct region *r = s->r[i];
        for (uint64_t p = 0; p < r->npages;) {
            uint64_t n = MIN(1 + random_u64() % 700, r->npages - p), kind = random_u64() % 4;
            for (uint64_t k = p; k < p + n && kind > 0; k++) {
                if (kind == 1 || (kind == 3 && random_u64() % 2))
                    memset(r->map + k * PAGE, 0, PAGE);
                else
                    fill_page(r->map + k * PAGE);
            }
            p += n;
        }
    }
}

/* Something else stands everywhere, so that what is not written or not made zero shows. */
static void soil(struct side *s)
{
    for (int i = 0; i < NREGIONS; i++)
        memset(s->r[i]->map, 0xee, s->r[i]->size_bytes);
}

static void assert_equal(const struct side *a, const struct side *b)
{
    for (int i = 0; i < NREGIONS; i++)
        for (uint64_t p = 0; p < a->r[i]->npages; p++)
            if (memcmp(a->r[i]->map + p * PAGE, b->r[i]->map + p * PAGE, PAGE) != 0)
                fail_msg("page %llu of region %d differs", (unsigned long long)p, i);
}

static uint64_t total_pages(void)
{
    uint64_t n = 0;
    for (int i = 0; i < NREGIONS; i++)
        n += region_pages[i];
    return n;
}

static uint64_t dirty_pages(const struct side *s)
{
    uint64_t n = 0;
    for (int i = 0; i < NREGIONS; i++)
        n += bitmap_count(s->r[i]->dirty);
    return n;
}

/* ---- the receiving side ---- */

struct receiver {
    struct apply apply;
    struct apply_counters counters;
    unsigned nlinks;
    struct receiver_link {
        struct receiver *all;
        unsigned index;
        struct channel *channel;
        pthread_t thread;
        int result;
    } links[LINKS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t fenced[LINKS_MAX]; /* round + 1 */
    uint64_t of;                /* what the newest fence said */
};

static void on_fence(void *userdata, unsigned connection, uint32_t round, uint64_t of)
{
    struct receiver *r = userdata;
    pthread_mutex_lock(&r->lock);
    assert_int_equal(r->fenced[connection], round);
    r->fenced[connection] = round + 1;
    r->of = of;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void wait_fences(struct receiver *r, uint32_t round)
{
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->nlinks; i++)
        while (r->fenced[i] != round + 1)
            pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

static void *receive(void *p)
{
    struct receiver_link *l = p;
    struct frame_stream stream;
    struct mig_error err = MIG_ERROR_INIT;
    frame_stream_init(&stream, l->channel, false);
    stream.recv_sequence = 1; /* HELLO was 0 */
    l->result = apply_run(&l->all->apply, l->index, &stream, &err);
    if (l->result < 0)
        print_message("receiver: %s\n", err.message);
    return NULL;
}

static char scratch[64];

static void connect_pair(struct channel **a, struct channel **b, bool tcp, int cancel_fd)
{
    char where[128];
    snprintf(where, sizeof where, "unix:%s/listen", scratch);
    _cleanup_close_ int listener = -1;
    _cleanup_free_ char *bound = NULL;
    assert_int_equal(channel_listen(&listener, &bound, tcp ? "127.0.0.1:0" : where, NULL), 0);
    assert_int_equal(channel_connect(a, bound, USEC_PER_SEC, cancel_fd, NULL), 0);
    assert_true(fd_wait(listener, POLLIN, -1, deadline_in(USEC_PER_SEC)) > 0);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(channel_from_socket(b, fd, "source", -1), 0);
    if (!tcp)
        unlink(where + 5);
}

static void open_links(struct receiver *r, struct channel **sources, unsigned n, bool tcp,
                       const struct side *to, int cancel_fd)
{
    *r = (struct receiver){.nlinks = n};
    r->apply = (struct apply){
        .regions = to->r, .nregions = NREGIONS, .counters = &r->counters, .fence = on_fence, .userdata = r};
    assert_int_equal(populate_beside_new(&r->apply.beside, to->r, NREGIONS, 2), 0);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    for (unsigned i = 0; i < n; i++) {
        r->links[i] = (struct receiver_link){.all = r, .index = i};
        connect_pair(&sources[i], &r->links[i].channel, tcp, cancel_fd);
    }
}

static void start_links(struct receiver *r)
{
    for (unsigned i = 0; i < r->nlinks; i++)
        assert_int_equal(pthread_create(&r->links[i].thread, NULL, receive, &r->links[i]), 0);
}

static void close_links(struct receiver *r, struct channel **sources, int expected)
{
    for (unsigned i = 0; i < r->nlinks; i++)
        sources[i] = channel_free(sources[i]);
    for (unsigned i = 0; i < r->nlinks; i++) {
        pthread_join(r->links[i].thread, NULL);
        assert_int_equal(r->links[i].result, expected);
        r->links[i].channel = channel_free(r->links[i].channel);
    }
    r->apply.beside = populate_beside_free(r->apply.beside);
}

/* ---- a writer with a log of its own ---- */

struct writer {
    struct side *side;
    _Atomic bool stop;
    uint64_t writes;
};

static void write_some(struct side *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct region *r = s->r[random_u64() % NREGIONS];
        uint64_t page = random_u64() % r->npages;
        if (random_u64() % 4)
            fill_page(r->map + page * PAGE);
        else
            memset(r->map + page * PAGE, 0, PAGE);
        region_mark(r, page, 1);
    }
}

static void *write_on(void *p)
{
    struct writer *w = p;
    while (!w->stop) {
        write_some(w->side, 16);
        w->writes += 16;
        usleep(100);
    }
    return NULL;
}

static void harvest(struct side *s)
{
    for (int i = 0; i < NREGIONS; i++)
        region_take_marks(s->r[i]);
}

/* ---- tests ---- */

#if defined(__SANITIZE_THREAD__)
#define WRITER_RACES false /* by design: it writes pages that are being read, which is what a guest does */
#else
#define WRITER_RACES true
#endif

static void migrate(unsigned links, bool tcp, bool checksum, bool digests, enum compression compression)
{
    struct side from, to;
    make_side(&from, "from");
    make_side(&to, "to");
    fill_source(&from);
    soil(&to);
    uint64_t blocks[NREGIONS];
    for (int i = 0; i < NREGIONS; i++) {
        struct stat st;
        assert_int_equal(fstat(from.r[i]->fd, &st), 0);
        blocks[i] = (uint64_t)st.st_blocks;
        bitmap_set_range(from.r[i]->dirty, 0, 3); /* from an earlier attempt; round 0 makes its own marks */
    }
    uint64_t *sent[NREGIONS] = {0};
    for (int i = 0; i < NREGIONS && digests; i++)
        sent[i] = calloc(region_pages[i], sizeof(uint64_t));
    struct receiver receiver;
    struct channel *channels[LINKS_MAX];
    open_links(&receiver, channels, links, tcp, &to, -1);
    start_links(&receiver);
    struct page_stream_options options = {.checksum = checksum,
                                          .cancel_fd = -1,
                                          .sent_digests = digests ? sent : NULL,
                                          .compression = compression,
                                          .codecs = {true, true, true}};
    _cleanup_(page_stream_freep) struct page_stream *stream = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(page_stream_new(&stream, channels, links, from.r, NREGIONS, &options, &err), 0);

    struct page_round round;
    assert_int_equal(page_stream_round(stream, 0, &round, &err), 0);
    wait_fences(&receiver, 0);
    for (int i = 0; i < NREGIONS; i++) { /* holes were not read */
        struct stat st;
        assert_int_equal(fstat(from.r[i]->fd, &st), 0);
        assert_int_equal(st.st_blocks, blocks[i]);
    }
    assert_equal(&from, &to); /* which reads them */
    assert_int_equal(round.normal_pages + round.zero_pages, total_pages());
    assert_int_equal(round.payload_bytes, round.normal_pages * PAGE);
    assert_true(round.wire_bytes > round.payload_bytes - (round.packed_bytes - round.packed_wire_bytes));
    if (repetitive && (compression == COMPRESSION_LZ4 || compression == COMPRESSION_ZSTD)) {
        assert_int_equal(round.packed_bytes, round.payload_bytes);
        assert_true(round.packed_wire_bytes < round.packed_bytes / 4);
    } else if (compression != COMPRESSION_ADAPTIVE) {
        assert_int_equal(round.packed_bytes, 0); /* random pages do not get smaller */
    }
    assert_int_equal(round.changed_pages, 0);
    assert_int_equal(receiver.counters.normal_pages, round.normal_pages);
    assert_int_equal(receiver.counters.zero_pages, round.zero_pages);
    assert_int_equal(dirty_pages(&from), 0);
    uint64_t wire = 0;
    for (unsigned i = 0; i < links; i++)
        wire += channels[i]->sent_bytes;
    assert_int_equal(wire, round.wire_bytes);

    struct writer writer = {.side = &from};
    pthread_t thread;
    if (WRITER_RACES)
        assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
    for (uint32_t i = 1; i < 6; i++) {
        if (!WRITER_RACES)
            write_some(&from, 500);
        usleep(3000);
        harvest(&from);
        assert_int_equal(page_stream_round(stream, i, &round, &err), 0);
        wait_fences(&receiver, i);
    }
    writer.stop = true;
    if (WRITER_RACES)
        pthread_join(thread, NULL);
    write_some(&from, 100);
    harvest(&from);
    uint64_t last = dirty_pages(&from);
    assert_int_equal(page_stream_round(stream, 6, &round, &err), 0);
    wait_fences(&receiver, 6);
    assert_equal(&from, &to);
    assert_int_equal(round.normal_pages + round.zero_pages, last);
    if (digests)
        assert_true(round.changed_pages > 0 && round.changed_pages <= last);
    for (int i = 0; i < NREGIONS && digests; i++)
        for (uint64_t p = 0; p < region_pages[i]; p++)
            assert_int_equal(sent[i][p], XXH3_64bits(to.r[i]->map + p * PAGE, PAGE));

    /* Marked but not changed, and nothing at all. */
    bitmap_set_range(from.r[0]->dirty, 0, from.r[0]->npages);
    assert_int_equal(page_stream_round(stream, 7, &round, &err), 0);
    wait_fences(&receiver, 7);
    assert_int_equal(round.changed_pages, 0);
    assert_int_equal(round.normal_pages + round.zero_pages, region_pages[0]);
    assert_int_equal(page_stream_round(stream, 8, &round, &err), 0);
    wait_fences(&receiver, 8);
    assert_int_equal(round.normal_pages + round.zero_pages, 0);
    assert_equal(&from, &to);
    stream = page_stream_free(stream);
    close_links(&receiver, channels, 0);
    for (int i = 0; i < NREGIONS; i++)
        free(sent[i]);
    drop_side(&from);
    drop_side(&to);
}

static void test_migrate(void **state)
{
    for (unsigned links = 1; links <= LINKS_MAX; links++)
        for (int variant = 0; variant < 8; variant++)
            if (links != 3 || variant == 0)
                migrate(links, variant & 1, variant & 2, variant & 4, COMPRESSION_OFF);
    for (int variant = 0; variant < 8; variant++)
        for (int c = COMPRESSION_LZ4; c <= COMPRESSION_ADAPTIVE; c++) {
            repetitive = variant != 0;
            migrate(1 + (unsigned)variant % 2, variant & 1, variant & 2, variant & 4, (enum compression)c);
        }
    repetitive = false;
}

/* Connections that come while a round runs take their part of it, and of those after. */
struct growing {
    struct page_stream *stream;
    struct channel **channels;
    struct receiver *receiver;
    unsigned links;
};

static void open_one_more(void *userdata)
{
    struct growing *g = userdata;
    if (g->links == LINKS_MAX)
        return;
    struct receiver_link *l = &g->receiver->links[g->links];
    assert_int_equal(pthread_create(&l->thread, NULL, receive, l), 0);
    assert_int_equal(page_stream_add(g->stream, g->channels[g->links]), 0);
    g->links++;
}

static void test_more_while_it_runs(void **state)
{
    struct side from, to;
    make_side(&from, "from");
    make_side(&to, "to");
    fill_source(&from);
    soil(&to);
    struct receiver receiver;
    struct channel *channels[LINKS_MAX];
    open_links(&receiver, channels, LINKS_MAX, true, &to, -1);
    struct growing g = {.channels = channels, .receiver = &receiver, .links = 1};
    struct page_stream_options options = {.cancel_fd = -1, .grows = true};
    assert_int_equal(pthread_create(&receiver.links[0].thread, NULL, receive, &receiver.links[0]), 0);
    assert_int_equal(page_stream_new(&g.stream, channels, 1, from.r, NREGIONS, &options, NULL), 0);
    page_stream_set_looker(g.stream, &(struct page_stream_looker){30000, open_one_more, &g});
    page_stream_set_bandwidth(g.stream, 20 << 20); /* slow enough for all of them to come */
    struct page_round round;
    assert_int_equal(page_stream_round(g.stream, 0, &round, NULL), 0);
    wait_fences(&receiver, 0);
    assert_int_equal(g.links, LINKS_MAX);
    assert_int_equal(receiver.of, LINKS_MAX);
    assert_equal(&from, &to);
    for (unsigned i = 0; i < LINKS_MAX; i++)
        assert_true(channels[i]->sent_bytes > 1000); /* more than a fence */
    page_stream_free(g.stream);
    close_links(&receiver, channels, 0);
    drop_side(&from);
    drop_side(&to);
}

/* Between rounds: the fences of the one that is over do not count it, those of the next do. */
static void test_one_more_between_rounds(void **state)
{
    struct side from, to;
    make_side(&from, "from");
    make_side(&to, "to");
    fill_source(&from);
    soil(&to);
    struct receiver receiver;
    struct channel *channels[LINKS_MAX];
    open_links(&receiver, channels, 2, false, &to, -1);
    start_links(&receiver);
    receiver.nlinks = 1;
    struct page_stream_options options = {.cancel_fd = -1, .grows = true};
    struct page_stream *stream;
    struct page_round round;
    assert_int_equal(page_stream_new(&stream, channels, 1, from.r, NREGIONS, &options, NULL), 0);
    assert_int_equal(page_stream_round(stream, 0, &round, NULL), 0);
    wait_fences(&receiver, 0);
    assert_int_equal(receiver.of, 1);
    assert_int_equal(page_stream_add(stream, channels[1]), 0);
    usleep(20000);
    assert_int_equal(receiver.fenced[1], 0);
    receiver.fenced[1] = 1; /* it came after that round */
    receiver.nlinks = 2;
    write_some(&from, 100);
    harvest(&from);
    assert_int_equal(page_stream_round(stream, 1, &round, NULL), 0);
    wait_fences(&receiver, 1);
    assert_int_equal(receiver.of, 2);
    assert_equal(&from, &to);
    page_stream_free(stream);
    close_links(&receiver, channels, 0);
    drop_side(&from);
    drop_side(&to);
}

/* Everything is marked, as a tracker with large pages or with no knowledge does: holes are neither read nor
 * sent as pages. */
static void test_marked_holes(void **state)
{
    struct side from, to;
    make_side(&from, "from");
    make_side(&to, "to");
    soil(&to);
    fill_page(from.r[0]->map + 700 * PAGE);
    fill_page(from.r[0]->map + 4999 * PAGE);
    struct receiver receiver;
    struct channel *channels[LINKS_MAX];
    open_links(&receiver, channels, 2, false, &to, -1);
    start_links(&receiver);
    struct page_stream_options options = {.cancel_fd = -1};
    struct page_stream *stream = NULL;
    assert_int_equal(page_stream_new(&stream, channels, 2, from.r, NREGIONS, &options, NULL), 0);
    struct page_round round;
    for (uint32_t i = 0; i < 2; i++) {
        for (int k = 0; k < NREGIONS; k++)
            bitmap_set_range(from.r[k]->dirty, 0, from.r[k]->npages);
        assert_int_equal(page_stream_round(stream, i, &round, NULL), 0);
        wait_fences(&receiver, i);
        assert_int_equal(round.normal_pages, 2);
        assert_int_equal(round.zero_pages, total_pages() - 2);
        for (int k = 0; k < NREGIONS; k++) {
            struct stat st;
            assert_int_equal(fstat(from.r[k]->fd, &st), 0);
            /* A run too short to ask about may be read; region 1 is such a run. */
            assert_true(st.st_blocks * 512 <= (k == 0 ? 2 * PAGE : PAGE));
        }
    }
    assert_equal(&from, &to);
    page_stream_free(stream);
    close_links(&receiver, channels, 0);
    drop_side(&from);
    drop_side(&to);
}

/* One connection ends in the middle: an error that names it, and every page that was not sent is marked. */
static void test_break(void **state)
{
    for (int variant = 0; variant < 4; variant++) {
        struct side from;
        make_side(&from, "from");
        for (int i = 0; i < NREGIONS; i++)
            for (uint64_t p = 0; p < region_pages[i]; p++)
                if (p % 900 < 600)
                    fill_page(from.r[i]->map + p * PAGE);
        struct channel *a[2], *b[2];
        for (int i = 0; i < 2; i++)
            connect_pair(&a[i], &b[i], variant & 1, -1);
        struct page_stream_options options = {.cancel_fd = -1, .checksum = variant & 2};
        struct page_stream *stream = NULL;
        assert_int_equal(page_stream_new(&stream, a, 2, from.r, NREGIONS, &options, NULL), 0);
        /* The peer of 1 leaves; the peer of 0 takes nothing, so that its sender is blocked. */
        b[1]->ops->shutdown(b[1]);
        struct page_round round;
        struct mig_error err = MIG_ERROR_INIT;
        uint64_t start = now_usec();
        assert_int_equal(page_stream_round(stream, 0, &round, &err), -ECONNRESET);
        assert_true(now_usec() - start < 30 * USEC_PER_SEC);
        assert_int_equal(err.code, MIG_ERR_PEER_LOST);
        assert_non_null(strstr(err.message, "connection 1"));
        page_stream_progress(stream, &round);
        assert_int_equal(dirty_pages(&from) + round.normal_pages + round.zero_pages, total_pages());
        assert_int_equal(page_stream_round(stream, 1, &round, NULL), -ECONNRESET);
        page_stream_free(stream);
        for (int i = 0; i < 2; i++) {
            channel_free(a[i]);
            channel_free(b[i]);
        }
        drop_side(&from);
    }
}

struct canceller {
    int fd;
    uint64_t usec;
};

static void *cancel_later(void *p)
{
    struct canceller *c = p;
    usleep(100000);
    c->usec = now_usec();
    eventfd_write(c->fd, 1);
    return NULL;
}

static void test_cancel(void **state)
{
    for (int capped = 0; capped < 2; capped++) { /* blocked by the peer, or by the cap */
        struct side from;
        make_side(&from, "from");
        for (uint64_t p = 0; p < region_pages[0]; p++)
            fill_page(from.r[0]->map + p * PAGE);
        struct channel *a[2], *b[2];
        for (int i = 0; i < 2; i++)
            connect_pair(&a[i], &b[i], true, -1);
        struct canceller c = {.fd = eventfd(0, EFD_CLOEXEC)};
        struct page_stream_options options = {.cancel_fd = c.fd};
        struct page_stream *stream = NULL;
        assert_int_equal(page_stream_new(&stream, a, 2, from.r, NREGIONS, &options, NULL), 0);
        if (capped)
            page_stream_set_bandwidth(stream, 1000);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cancel_later, &c), 0);
        struct page_round round;
        struct mig_error err = MIG_ERROR_INIT;
        assert_int_equal(page_stream_round(stream, 0, &round, &err), -ECANCELED);
        pthread_join(thread, NULL);
        assert_true(now_usec() - c.usec < 30 * USEC_PER_SEC);
        assert_int_equal(err.code, MIG_ERR_CANCELLED);
        page_stream_progress(stream, &round);
        assert_int_equal(dirty_pages(&from) + round.normal_pages + round.zero_pages, total_pages());
        page_stream_free(stream);
        for (int i = 0; i < 2; i++) {
            channel_free(a[i]);
            channel_free(b[i]);
        }
        close(c.fd);
        drop_side(&from);
    }
}

/* By a cap of its own, or by one that it shares. */
static void limited_by(bool own)
{
    struct side from, to;
    struct ratelimit *total = NULL;
    assert_int_equal(ratelimit_new(&total, own ? 0 : 20 << 20), 0);
    make_side(&from, "from");
    make_side(&to, "to");
    for (uint64_t p = 0; p < 2048; p++)
        fill_page(from.r[0]->map + p * PAGE);
    struct receiver receiver;
    struct channel *channels[LINKS_MAX];
    open_links(&receiver, channels, 2, true, &to, -1);
    start_links(&receiver);
    struct page_stream_options options = {.cancel_fd = -1, .total = total};
    struct page_stream *stream = NULL;
    assert_int_equal(page_stream_new(&stream, channels, 2, from.r, NREGIONS, &options, NULL), 0);
    page_stream_set_bandwidth(stream, own ? 20 << 20 : 0); /* 8 MiB: 0.4 s, less two batches */
    assert_int_equal(ratelimit_share(page_stream_limit(stream)), 20 << 20);
    struct page_round round;
    assert_int_equal(page_stream_round(stream, 0, &round, NULL), 0);
    assert_true(round.usec > 250000 && round.usec < 30 * USEC_PER_SEC);
    wait_fences(&receiver, 0);
    assert_equal(&from, &to);
    page_stream_free(stream);
    close_links(&receiver, channels, 0);
    drop_side(&from);
    drop_side(&to);
    ratelimit_free(total);
}

static void test_bandwidth(void **state)
{
    limited_by(true);
    limited_by(false);
}

static void test_limits(void **state)
{
    struct page_stream *stream = NULL;
    struct page_stream_options options = {.cancel_fd = -1};
    struct mig_error err = MIG_ERROR_INIT;
    assert_int_equal(page_stream_new(&stream, NULL, 0, NULL, 0, &options, &err), -EINVAL);
    assert_int_equal(page_stream_new(&stream, NULL, WIRE_CONNECTIONS_MAX + 1, NULL, 0, &options, &err),
                     -EINVAL);
    assert_int_equal(err.code, MIG_ERR_LIMIT);
    assert_null(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrate),
        cmocka_unit_test(test_marked_holes),
        cmocka_unit_test(test_break),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_more_while_it_runs),
        cmocka_unit_test(test_one_more_between_rounds),
    };
    alarm(120);
    snprintf(scratch, sizeof scratch, "/tmp/migd-pages-XXXXXX");
    if (!mkdtemp(scratch))
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(scratch);
    return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vfio-user client against servers that lie, stall, cut messages, and die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/clock.h"
#include "fake-vfio-user.h"
#include "vfio-user/device.h"
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define MIB  (UINT64_C(1) << 20)
#define MSEC USEC_PER_MSEC

/* What the hook does with the next command of a kind. */
typedef bool (*act_func)(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size);
static struct {
    pthread_mutex_t lock;
    uint16_t command;
    uint32_t feature; /* DEVICE_FEATURE: exact flags, 0 for any */
    bool armed;       /* once */
    act_func act;
    int number;
} plan = {.lock = PTHREAD_MUTEX_INITIALIZER};
static _Thread_local int number; /* of the plan that is being carried out */

static bool hook(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    uint32_t flags = 0;
    if (h->command == VFU_DEVICE_FEATURE && size >= 8)
        memcpy(&flags, payload + 4, sizeof flags);
    pthread_mutex_lock(&plan.lock);
    bool ours = plan.armed && h->command == plan.command && (!plan.feature || flags == plan.feature);
    act_func act = plan.act;
    number = plan.number;
    if (ours)
        plan.armed = false;
    pthread_mutex_unlock(&plan.lock);
    return ours && act(f, h, payload, size);
}

static void arm(uint16_t command, uint32_t feature, int n, act_func act)
{
    pthread_mutex_lock(&plan.lock);
    plan.command = command;
    plan.feature = feature;
    plan.act = act;
    plan.number = n;
    plan.armed = act != NULL;
    pthread_mutex_unlock(&plan.lock);
}

static bool armed(void)
{
    pthread_mutex_lock(&plan.lock);
    bool yes = plan.armed;
    pthread_mutex_unlock(&plan.lock);
    return yes;
}

#define GET_STATE (VFU_FEATURE_MIG_DEVICE_STATE | VFU_FEATURE_GET)
#define SET_STATE (VFU_FEATURE_MIG_DEVICE_STATE | VFU_FEATURE_SET)
#define REPORT    (VFU_FEATURE_DMA_LOGGING_REPORT | VFU_FEATURE_GET)
#define START     (VFU_FEATURE_DMA_LOGGING_START | VFU_FEATURE_SET)

struct scene {
    struct fake_server *f;
    struct device *d;
    struct region *r;
    unsigned fds;
};

static int try_attach(struct scene *s, uint64_t timeout_usec, struct mig_error *err)
{
    s->f->hook = hook;
    struct vfu_device_options o = {.fd = s->f->client, .timeout_usec = timeout_usec};
    fake_start(s->f);
    int r = vfu_device_new(&s->d, "nic0", &o, err);
    close_fd(&s->f->client);
    return r;
}

static void begin(struct scene *s)
{
    *s = (struct scene){.fds = count_fds()};
    arm(0, 0, 0, NULL);
    s->f = fake_new();
}

static void attach(struct scene *s, uint64_t timeout_usec)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (try_attach(s, timeout_usec, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(region_new_made(&s->r, "ram", 4 * MIB, 0, -1, &err), 0);
    struct iova_mapping m = {
        .iova = 0x10000, .size_bytes = 4 * MIB, .region = s->r, .prot = IOVA_READ | IOVA_WRITE};
    assert_int_equal(s->d->ops->dma_map(s->d, &m, &err), 0);
    uint64_t page = 4096;
    assert_int_equal(s->d->ops->log_start(s->d, &page, &err), 0);
}

static void end(struct scene *s)
{
    device_unref(s->d);
    fake_free(s->f);
    region_unref(s->r);
    assert_int_equal(count_fds(), s->fds);
}

static bool is_gone(struct device *d)
{
    struct pollfd p = {.fd = d->ops->gone_fd(d), .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void wait_gone(struct device *d)
{
    struct pollfd p = {.fd = d->ops->gone_fd(d), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

static int get_state(struct scene *s, struct mig_error *err)
{
    enum device_state now;
    return s->d->ops->get_state(s->d, &now, err);
}

/* Works, whatever happened before. */
static void still_works(struct scene *s)
{
    struct mig_error err = MIG_ERROR_INIT;
    if (get_state(s, &err) < 0)
        fail_msg("%s", err.message);
    assert_false(is_gone(s->d));
}

/* Every command fails at once, and says so. */
static void is_dead(struct scene *s)
{
    struct mig_error err = MIG_ERROR_INIT;
    uint64_t before = now_usec();
    wait_gone(s->d);
    assert_int_equal(get_state(s, &err), -ENODEV);
    assert_int_equal(err.code, MIG_ERR_DEVICE_GONE);
    assert_non_null(strstr(err.message, "nic0"));
    mig_error_clear(&err);
    assert_true(s->d->ops->dma_unmap(s->d, 0x10000, 4 * MIB, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_DEVICE_GONE);
    assert_true(now_usec() - before < 30 * USEC_PER_SEC);
}

static void count_pages(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                        const uint64_t *words, uint64_t nbits)
{
    unsigned *n = userdata;
    for (uint64_t i = 0; i < nbits; i++)
        *n += words[i / 64] >> (i % 64) & 1;
}

static int report(struct scene *s, unsigned *ret_pages, struct mig_error *err)
{
    unsigned n = 0;
    int r = s->d->ops->log_report(s->d, count_pages, &n, err);
    if (ret_pages)
        *ret_pages = n;
    return r;
}

/* VERSION. */

static bool close_now(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    shutdown(f->socket, SHUT_RDWR);
    return true;
}

static bool say_nothing(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    return true;
}

static bool version_variant(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct {
        struct vfu_version v;
        char text[300];
    } m = {.v = {0, 2}};
    int fds[9], pair[2] = {-1, -1};
    unsigned n = 0;
    static const char twin[] =
        "{\"capabilities\":{\"max_msg_fds\":8,\"twin_socket\":{\"supported\":true,\"fd_index\":1}}}";
    switch (number) {
    case 0: /* another major version */
        m.v.major = 1;
        fake_reply(f, h, &m, sizeof m.v);
        return true;
    case 1: /* half a version */
        fake_reply(f, h, &m, 2);
        return true;
    case 2: /* no NUL */
        memset(m.text, ' ', sizeof m.text);
        fake_reply(f, h, &m, sizeof m);
        return true;
    case 3: /* a twin without descriptor */
        strcpy(m.text, twin);
        fake_reply(f, h, &m, sizeof m.v + strlen(m.text) + 1);
        return true;
    case 4: /* the index points beyond the descriptors */
    case 5: /* a twin that is no socket; */
    case 6: /* more descriptors than anybody asked for */
        strcpy(m.text, twin);
        n = number == 4 ? 1 : number == 5 ? 2 : 9;
        for (unsigned i = 0; i < n; i++)
            fds[i] = memfd_create("x", MFD_CLOEXEC);
        fake_reply_fds(f, h, &m, sizeof m.v + strlen(m.text) + 1, fds, n);
        for (unsigned i = 0; i < n; i++)
            close_fd(&fds[i]);
        return true;
    case 7: /* a datagram socket */
        strcpy(m.text, "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":0}}}");
        assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
        fake_reply_fds(f, h, &m, sizeof m.v + strlen(m.text) + 1, pair, 1);
        close_fd(&pair[0]);
        close_fd(&pair[1]);
        return true;
    case 8:
        fake_error(f, h, EINVAL, "0123456789", 10);
        return true;
    default: /* deep nesting */
        memset(m.text, '[', 200);
        fake_reply(f, h, &m, sizeof m.v + 201);
        return true;
    }
}

static void test_version(void **state)
{
    static const char *const bad[] = {
        "",
        "nonsense",
        "[]",
        "{\"capabilities\":7}",
        "{\"capabilities\":{\"max_msg_fds\":1.5}}",
        "{\"capabilities\":{\"max_msg_fds\":null}}",
        "{\"capabilities\":{\"max_msg_fds\":-3}}",
        "{\"capabilities\":{\"max_msg_fds\":99999999999999999999}}",
        "{\"capabilities\":{\"max_data_xfer_size\":0}}",
        "{\"capabilities\":{\"max_data_xfer_size\":\"many\"}}",
        "{\"capabilities\":{\"pgsizes\":{}}}",
        "{\"capabilities\":{\"max_dma_maps\":[]}}",
        "{\"capabilities\":{\"migration\":true}}",
        "{\"capabilities\":{\"twin_socket\":[]}}",
        "{\"capabilities\":{\"twin_socket\":{\"supported\":1}}}",
        "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":-1}}}",
        "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":\"0\"}}}",
        "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}",
    };
    struct scene s;
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        begin(&s);
        s.f->caps = bad[i];
        s.f->no_twin = true;
        if (try_attach(&s, 5 * USEC_PER_SEC, &err) == 0)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(err.code, MIG_ERR_DEVICE_PROTOCOL);
        assert_non_null(strstr(err.message, "VERSION"));
        end(&s);
    }
    static const char *const good[] = {"{}", "{\"capabilities\":{}}",
                                       "{\"more\":[1],\"capabilities\":{\"strange\":{\"a\":[]}}}",
                                       "{\"capabilities\":{\"max_data_xfer_size\":4000000000000}}"};
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        begin(&s);
        s.f->caps = good[i];
        s.f->no_twin = true;
        attach(&s, 5 * USEC_PER_SEC);
        still_works(&s);
        end(&s);
    }
    for (int i = 0; i < 10; i++) {
        struct mig_error err = MIG_ERROR_INIT;
        begin(&s);
        arm(VFU_VERSION, 0, i, version_variant);
        if (try_attach(&s, 5 * USEC_PER_SEC, &err) == 0)
            fail_msg("variant %d was taken", i);
        assert_non_null(strstr(err.message, "VERSION"));
        end(&s);
    }

    struct mig_error err = MIG_ERROR_INIT;
    begin(&s);
    arm(VFU_VERSION, 0, 0, close_now);
    assert_true(try_attach(&s, 5 * USEC_PER_SEC, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_DEVICE_GONE);
    end(&s);
    begin(&s);
    arm(VFU_VERSION, 0, 0, say_nothing); /* another client is being served */
    assert_true(try_attach(&s, 100 * MSEC, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_DEVICE_TIMEOUT);
    assert_non_null(strstr(err.message, "did not answer VERSION within 100 ms"));
    end(&s);
}

/* Wrong lengths and wrong words of replies. */

enum { SHORT, LONG, VERY_SHORT_HEADER, HUGE_HEADER, WRONG_ID, WRONG_COMMAND, WRONG_TYPE, NOT_A_REPLY, LIES };

static bool lie(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    static uint8_t big[65536];
    struct vfu_header r = {
        .msg_id = h->msg_id, .command = h->command, .size = sizeof r, .flags = VFU_FLAG_REPLY};
    switch (number) {
    case SHORT: /* a payload that is too small for any of them */
        fake_reply(f, h, big, 3);
        return true;
    case LONG:
        memset(big, 0xff, sizeof big);
        fake_reply(f, h, big, sizeof big);
        return true;
    case VERY_SHORT_HEADER:
        r.size = 15;
        break;
    case HUGE_HEADER:
        r.size = UINT32_MAX;
        break;
    case WRONG_ID:
        r.msg_id++;
        break;
    case WRONG_COMMAND:
        r.command++;
        break;
    case WRONG_TYPE:
        r.flags = 9;
        break;
    case NOT_A_REPLY: /* a command that only a client may send */
        r.flags = VFU_FLAG_COMMAND;
        break;
    }
    fake_send(f, &r, sizeof r);
    return true;
}

static int run(struct scene *s, unsigned which, struct mig_error *err)
{
    uint8_t buf[100];
    switch (which) {
    case 0:
        return get_state(s, err);
    case 1:
        return report(s, NULL, err);
    case 2: {
        ssize_t n = s->d->ops->read_state(s->d, buf, sizeof buf, err);
        return (int)n;
    }
    default:
        return s->d->ops->dma_unmap(s->d, 0x10000, 4 * MIB, err);
    }
}

static void test_lies(void **state)
{
    static const struct {
        uint16_t command;
        uint32_t feature;
    } target[] = {{VFU_DEVICE_FEATURE, GET_STATE},
                  {VFU_DEVICE_FEATURE, REPORT},
                  {VFU_MIG_DATA_READ, 0},
                  {VFU_DMA_UNMAP, 0}};
    for (unsigned t = 0; t < ELEMENTS(target); t++)
        for (int how = 0; how < LIES; how++) {
            struct scene s;
            struct mig_error err = MIG_ERROR_INIT;
            begin(&s);
            attach(&s, 5 * USEC_PER_SEC);
            if (target[t].command == VFU_MIG_DATA_READ)
                assert_int_equal(s.d->ops->set_state(s.d, DEVICE_STATE_PRE_COPY, NULL, &err), 0);
            arm(target[t].command, target[t].feature, how, lie);
            int r = run(&s, t, &err);
            bool framing = how >= VERY_SHORT_HEADER;
            if (framing) {
                assert_int_equal(r, -ENODEV);
                assert_int_equal(err.code, MIG_ERR_DEVICE_GONE);
                is_dead(&s);
            } else if (target[t].command == VFU_DMA_UNMAP) {
                /* The bitmap cannot be used: everything is sent again, nothing is lost, and the mapping is
                 * gone. */
                assert_int_equal(r, 0);
                assert_true(region_take_marks(s.r) == s.r->npages);
                still_works(&s);
            } else {
                assert_true(r < 0);
                if (err.code != MIG_ERR_DEVICE_PROTOCOL)
                    fail_msg("target %u, lie %d: %s", t, how, err.message);
                still_works(&s);
            }
            end(&s);
        }
}

static bool bad_content(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    static uint8_t m[65536];
    memset(m, 0, sizeof m);
    memcpy(m, payload, MIN(size, sizeof m));
    uint64_t bitmap = vfu_bitmap_bytes(4 * MIB, 4096), wrong = 0x666000;
    uint32_t word;
    memset(m + 32, 0xff, bitmap);
    switch (number) {
    case 0: /* REPORT of another place */
        memcpy(m + 8, &wrong, sizeof wrong);
        fake_reply(f, h, m, 32 + bitmap);
        return true;
    case 1: /* in other pages */
        wrong = 8192;
        memcpy(m + 24, &wrong, sizeof wrong);
        fake_reply(f, h, m, 32 + bitmap);
        return true;
    case 2: /* one word of bitmap less, and one more */
        fake_reply(f, h, m, 32 + bitmap - 8);
        return true;
    case 3:
        fake_reply(f, h, m, 32 + bitmap + 8);
        return true;
    case 4: /* empty success, as for a range over two regions */
        fake_reply(f, h, m, 32);
        return true;
    case 5: /* MIG_DATA_READ: more than came */
        word = 99;
        memcpy(m + 4, &word, sizeof word);
        fake_reply(f, h, m, 8 + 50);
        return true;
    case 6: /* more than was asked for */
        word = 101;
        memcpy(m + 4, &word, sizeof word);
        fake_reply(f, h, m, 8 + 100);
        return true;
    default: /* a state that does not exist */
        word = 99;
        memcpy(m + 8, &word, sizeof word);
        fake_reply(f, h, m, 16);
        return true;
    }
}

static void test_bad_content(void **state)
{
    struct scene s;
    begin(&s);
    attach(&s, 5 * USEC_PER_SEC);
    struct mig_error err = MIG_ERROR_INIT;
    unsigned pages;
    assert_int_equal(s.d->ops->set_state(s.d, DEVICE_STATE_PRE_COPY, NULL, &err), 0);
    for (int i = 0; i < 8; i++) {
        mig_error_clear(&err);
        arm(i >= 5 && i <= 6 ? VFU_MIG_DATA_READ : VFU_DEVICE_FEATURE,
            i < 5    ? REPORT
            : i == 7 ? GET_STATE
                     : 0,
            i, bad_content);
        if (i < 5) {
            assert_true(report(&s, &pages, &err) < 0);
            assert_int_equal(pages, 0); /* nothing of it was believed */
        } else {
            assert_true(run(&s, i == 7 ? 0 : 2, &err) < 0);
        }
        assert_int_equal(err.code, MIG_ERR_DEVICE_PROTOCOL);
        still_works(&s);
    }
    end(&s);
}

static bool odd_page_size(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    uint64_t page = (uint64_t)number;
    memcpy(payload + 8, &page, sizeof page);
    fake_reply(f, h, payload, size);
    return true;
}

static void test_log_page_sizes(void **state)
{
    struct scene s;
    begin(&s);
    attach(&s, 5 * USEC_PER_SEC);
    static const int odd[] = {0, 3000, 512, 4097};
    for (size_t i = 0; i < ELEMENTS(odd); i++) {
        struct mig_error err = MIG_ERROR_INIT;
        uint64_t page = 4096;
        arm(VFU_DEVICE_FEATURE, START, odd[i], odd_page_size);
        assert_true(s.d->ops->log_start(s.d, &page, &err) < 0);
        assert_int_equal(err.code, MIG_ERR_DEVICE_PROTOCOL);
        assert_true(report(&s, NULL, &err) < 0); /* and the log is off again */
        assert_false(s.f->log_on);
    }
    still_works(&s);
    end(&s);
}

/* Error replies. */

static bool error_variant(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    uint8_t junk[2000];
    memset(junk, 0xee, sizeof junk);
    static const int error[] = {EBUSY, 0, -1, ENODEV, ETIMEDOUT, ENOMSG, EBUSY};
    fake_error(f, h, error[number], junk, number == 6 ? 0 : 16 + (size_t)number * 100);
    return true;
}

static void test_error_payloads(void **state)
{
    struct scene s;
    begin(&s);
    attach(&s, 5 * USEC_PER_SEC);
    static const int expected[] = {EBUSY, EIO, EIO, ENODEV, ETIMEDOUT, ENOMSG, EBUSY};
    for (int i = 0; i < 7; i++) {
        struct mig_error err = MIG_ERROR_INIT;
        arm(VFU_DEVICE_FEATURE, GET_STATE, i, error_variant);
        assert_int_equal(get_state(&s, &err), -expected[i]);
        assert_int_equal(err.code, MIG_ERR_DEVICE);
        assert_int_equal(err.err, expected[i]);
        assert_non_null(strstr(err.message, "MIG_DEVICE_STATE"));
        still_works(&s);
    }
    end(&s);
}

/* Pieces. */

static bool dribble(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct {
        struct vfu_header h;
        struct vfu_feature_header fh;
        struct vfu_mig_state s;
    } m = {.h = {.msg_id = h->msg_id, .command = h->command, .size = sizeof m, .flags = VFU_FLAG_REPLY},
           .s = {.state = 2}};
    for (size_t i = 0; i < sizeof m; i++) {
        fake_send(f, (uint8_t *)&m + i, 1);
        usleep(500);
    }
    return true;
}

/* A DMA_WRITE, the reply, and another DMA_WRITE, in one write. */
static bool glue(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct dma {
        struct vfu_header h;
        struct vfu_dma_rw rw;
        uint8_t byte;
    } __attribute__((packed));
    struct {
        struct dma first;
        struct {
            struct vfu_header h;
            struct vfu_feature_header fh;
            struct vfu_mig_state s;
        } __attribute__((packed)) reply;
        struct dma second;
    } __attribute__((packed)) m = {
        .first = {{1, VFU_DMA_WRITE, sizeof(struct dma), VFU_FLAG_NO_REPLY, 0}, {0x10000, 1}, 0x11},
        .reply = {.h = {h->msg_id, h->command, sizeof m.reply, VFU_FLAG_REPLY, 0}, .s = {.state = 2}},
        .second = {{2, VFU_DMA_WRITE, sizeof(struct dma), VFU_FLAG_NO_REPLY, 0}, {0x11000, 1}, 0x22},
    };
    fake_send(f, &m, sizeof m);
    return true;
}

static void test_pieces(void **state)
{
    struct scene s;
    struct mig_error err = MIG_ERROR_INIT;
    begin(&s);
    s.f->no_twin = true;
    attach(&s, 5 * USEC_PER_SEC);
    arm(VFU_DEVICE_FEATURE, GET_STATE, 0, dribble);
    assert_int_equal(get_state(&s, &err), 0);
    arm(VFU_DEVICE_FEATURE, GET_STATE, 0, glue);
    assert_int_equal(get_state(&s, &err), 0);
    still_works(&s);
    /* Both were written and marked: the one before the reply, and the one after it, which nobody asked a
     * command for. */
    for (int i = 0; i < 300 && atomic_load(&s.r->marked_pages) < 2; i++)
        usleep(10000);
    region_take_marks(s.r);
    assert_true(bitmap_test(s.r->dirty, 0));
    assert_true(bitmap_test(s.r->dirty, 1));
    end(&s);
}

/* Timeouts and late replies. */

static bool answer_late(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    usleep((useconds_t)number * 1000);
    return false;
}

static void test_late_reply(void **state)
{
    struct scene s;
    struct mig_error err = MIG_ERROR_INIT;
    unsigned pages;
    begin(&s);
    attach(&s, 150 * MSEC);
    fake_touch(s.f, 0x10000, 1);
    arm(VFU_DEVICE_FEATURE, REPORT, 500, answer_late);
    uint64_t before = now_usec();
    assert_int_equal(report(&s, &pages, &err), -ETIMEDOUT);
    assert_true(now_usec() - before >= 150 * MSEC);
    assert_int_equal(err.code, MIG_ERR_DEVICE_TIMEOUT);
    assert_non_null(strstr(err.message, "device nic0 (vfio-user"));
    assert_non_null(strstr(err.message, "did not answer DMA_LOGGING_REPORT within 150 ms"));
    assert_true(err.hint[0] != '\0');
    /* The next command is not sent while the reply is due; it names who is in the way. */
    unsigned sent = s.f->commands[VFU_DEVICE_FEATURE];
    assert_int_equal(get_state(&s, &err), -ETIMEDOUT);
    assert_int_equal(err.code, MIG_ERR_DEVICE_TIMEOUT);
    assert_non_null(strstr(err.message, "still has not answered"));
    assert_non_null(strstr(err.message, "DMA_LOGGING_REPORT"));
    assert_int_equal(s.f->commands[VFU_DEVICE_FEATURE], sent);
    /* The stall ends: the late reply is thrown away and commands succeed, whoever came first. */
    usleep(350000);
    for (int i = 0; i < 3; i++)
        still_works(&s);
    assert_int_equal(report(&s, &pages, &err), 0);
    assert_int_equal(s.d->ops->set_state(s.d, DEVICE_STATE_PRE_COPY, NULL, &err), 0);
    end(&s);
}

/* The next command waits for the late reply inside its own time, and then has its full time. */
static void test_late_reply_awaited(void **state)
{
    struct scene s;
    struct mig_error err = MIG_ERROR_INIT;
    begin(&s);
    attach(&s, 300 * MSEC);
    arm(VFU_DEVICE_FEATURE, SET_STATE, 450, answer_late);
    enum device_state reached = DEVICE_STATE_RUNNING;
    assert_true(s.d->ops->set_state(s.d, DEVICE_STATE_STOP, &reached, &err) < 0);
    assert_int_equal(err.code, MIG_ERR_DEVICE_TIMEOUT);
    assert_non_null(strstr(err.message, "the change from running to stop"));
    assert_int_equal(reached, DEVICE_STATE_STOP); /* it did what it was told, late, and says so when asked */
    assert_int_equal(s.d->ops->set_state(s.d, DEVICE_STATE_RUNNING, &reached, &err), 0);
    assert_int_equal(s.f->state, DEVICE_STATE_RUNNING);
    end(&s);
}

/* The reply stops in its middle and goes on after the timeout, with a descriptor nobody wants. */
static bool pause_inside(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    static uint8_t m[16 + 32 + 128];
    struct vfu_header r = {
        .msg_id = h->msg_id, .command = h->command, .size = sizeof m, .flags = VFU_FLAG_REPLY};
    memset(m, 0, sizeof m);
    memcpy(m, &r, sizeof r);
    memcpy(m + 16, payload, 32);
    memset(m + 48, 0xff, 128);
    size_t cut = (size_t)number;
    fake_send(f, m, cut);
    usleep(300000);
    fake_send(f, m + cut, sizeof m - cut);
    return true;
}

static void test_late_in_the_middle(void **state)
{
    static const int cuts[] = {1, 15, 16, 20, 48, 100, 175};
    for (size_t i = 0; i < ELEMENTS(cuts); i++) {
        struct scene s;
        struct mig_error err = MIG_ERROR_INIT;
        begin(&s);
        attach(&s, 100 * MSEC);
        arm(VFU_DEVICE_FEATURE, REPORT, cuts[i], pause_inside);
        assert_int_equal(report(&s, NULL, &err), -ETIMEDOUT);
        assert_int_equal(err.code, MIG_ERR_DEVICE_TIMEOUT);
        usleep(350000);
        still_works(&s);
        assert_int_equal(report(&s, NULL, &err), 0);
        end(&s);
    }
}

static bool reply_with_fds(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct {
        struct vfu_feature_header h;
        struct vfu_mig_state s;
    } m = {.s = {.state = 2}};
    int fds[20] = {0};
    unsigned n = (unsigned)number;
    for (unsigned i = 0; i < n; i++)
        fds[i] = memfd_create("unwanted", MFD_CLOEXEC);
    if (n == 3)
        usleep(250000); /* late */
    fake_reply_fds(f, h, &m, sizeof m, fds, n);
    for (unsigned i = 0; i < n; i++)
        close_fd(&fds[i]);
    return true;
}

static void test_unwanted_descriptors(void **state)
{
    struct scene s;
    struct mig_error err = MIG_ERROR_INIT;
    begin(&s);
    attach(&s, 100 * MSEC);
    unsigned fds = count_fds();
    arm(VFU_DEVICE_FEATURE, GET_STATE, 5, reply_with_fds);
    assert_int_equal(get_state(&s, &err), 0);
    still_works(&s);
    assert_int_equal(count_fds(), fds);
    arm(VFU_DEVICE_FEATURE, GET_STATE, 3, reply_with_fds);
    assert_int_equal(get_state(&s, &err), -ETIMEDOUT);
    usleep(300000);
    still_works(&s);
    assert_int_equal(count_fds(), fds);
    arm(VFU_DEVICE_FEATURE, GET_STATE, 20, reply_with_fds); /* more than fit: cut off, which is an error */
    assert_int_equal(get_state(&s, &err), -ENODEV);
    is_dead(&s);
    end(&s);
}

/* The end. */

static bool die_after(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    struct vfu_header r = {.msg_id = h->msg_id, .command = h->command, .size = 4096, .flags = VFU_FLAG_REPLY};
    usleep(50000); /* the worker is waiting by then */
    if (number > 0)
        fake_send(f, &r, (size_t)MIN(number, 16));
    if (number > 16)
        fake_send(f, payload, 10);
    shutdown(f->socket, SHUT_RDWR);
    return true;
}

static void test_end_of_file(void **state)
{
    static const int after[] = {0, 7, 16, 20};
    for (size_t i = 0; i < ELEMENTS(after); i++)
        for (unsigned t = 0; t < 4; t++) {
            struct scene s;
            struct mig_error err = MIG_ERROR_INIT;
            begin(&s);
            attach(&s, 60 * USEC_PER_SEC);
            if (t == 2)
                s.d->ops->set_state(s.d, DEVICE_STATE_PRE_COPY, NULL, NULL);
            static const uint16_t command[] = {VFU_DEVICE_FEATURE, VFU_DEVICE_FEATURE, VFU_MIG_DATA_READ,
                                               VFU_DMA_UNMAP};
            static const uint32_t feature[] = {GET_STATE, REPORT, 0, 0};
            arm(command[t], feature[t], after[i], die_after);
            uint64_t before = now_usec();
            assert_int_equal(run(&s, t, &err), -ENODEV);
            assert_int_equal(err.code, MIG_ERR_DEVICE_GONE);
            assert_true(now_usec() - before < 30 * USEC_PER_SEC);
            is_dead(&s);
            end(&s);
        }
}

static void test_end_while_idle(void **state)
{
    for (int twin = 0; twin < 2; twin++) {
        struct scene s;
        begin(&s);
        attach(&s, 60 * USEC_PER_SEC);
        shutdown(twin ? fake_twin(s.f) : s.f->socket, SHUT_RDWR);
        is_dead(&s);
        end(&s);
    }
}

/* The twin socket ends while a worker waits for a reply that never comes. */
static bool end_twin(struct fake_server *f, const struct vfu_header *h, uint8_t *payload, size_t size)
{
    usleep(50000);
    shutdown(f->twin, SHUT_RDWR);
    return true;
}

static void test_end_of_twin_while_waiting(void **state)
{
    struct scene s;
    struct mig_error err = MIG_ERROR_INIT;
    begin(&s);
    attach(&s, 60 * USEC_PER_SEC);
    arm(VFU_DEVICE_FEATURE, GET_STATE, 0, end_twin);
    assert_int_equal(get_state(&s, &err), -ENODEV);
    is_dead(&s);
    end(&s);
}

/* DMA messages that lie. */

static void send_twin(struct scene *s, uint16_t command, uint32_t flags, uint32_t size, uint64_t count,
                      size_t bytes)
{
    struct {
        struct vfu_header h;
        struct vfu_dma_rw rw;
        uint8_t data[100];
    } m = {.h = {.msg_id = 5, .command = command, .size = size, .flags = flags}, .rw = {0x10000, count}};
    assert_int_equal(send(fake_twin(s->f), &m, bytes, MSG_NOSIGNAL), bytes);
}

static void expect_error(struct scene *s, int error)
{
    struct vfu_header h;
    assert_int_equal(recv(fake_twin(s->f), &h, sizeof h, MSG_WAITALL), sizeof h);
    assert_int_equal(h.msg_id, 5);
    assert_int_equal(h.flags, VFU_FLAG_REPLY | VFU_FLAG_ERROR);
    assert_int_equal(h.error, error);
    assert_int_equal(h.size, sizeof h);
}

static void test_dma_lies(void **state)
{
    struct scene s;
    begin(&s);
    attach(&s, 100 * MSEC);
    send_twin(&s, VFU_DMA_WRITE, 0, 16 + 16 + 4, 8, 36); /* says 8, brings 4 */
    expect_error(&s, EINVAL);
    send_twin(&s, VFU_DMA_WRITE, 0, 16 + 16 + 8, 4, 40);
    expect_error(&s, EINVAL);
    send_twin(&s, VFU_DMA_READ, 0, 16 + 16 + 4, 4, 36); /* a read with data */
    expect_error(&s, EINVAL);
    send_twin(&s, VFU_DMA_READ, 0, 16 + 8, 4, 24); /* half a request */
    expect_error(&s, EINVAL);
    send_twin(&s, VFU_DMA_READ, 0, 16, 0, 16);
    expect_error(&s, EINVAL);
    send_twin(&s, VFU_DMA_READ, 0, 32, UINT64_MAX, 32);
    expect_error(&s, EINVAL);
    send_twin(&s, VFU_DMA_READ, VFU_FLAG_NO_REPLY, 32, UINT64_MAX, 32); /* no reply wanted: none comes */
    send_twin(&s, VFU_DMA_READ, 0, 24, 4, 24);
    expect_error(&s, EINVAL);
    region_take_marks(s.r);
    assert_true(bitmap_is_empty(s.r->dirty));
    still_works(&s);
    end(&s);

    static const struct {
        uint16_t command;
        uint32_t flags, size;
        size_t bytes;
    } fatal[] = {
        {VFU_DMA_READ, 0, 8, 16},                /* smaller than a header */
        {VFU_DMA_WRITE, 0, 0x7fffffff, 32},      /* larger than anything agreed */
        {VFU_DMA_WRITE, 0, 16 + 16 + 32769, 32}, /* by one byte */
        {VFU_REGION_READ, 0, 32, 32},            /* a client's command */
        {VFU_DMA_READ, VFU_FLAG_REPLY, 32, 32},  /* a reply to nothing */
        {VFU_DMA_WRITE, 0, 16 + 16 + 50, 40},    /* stops in its middle */
    };
    for (size_t i = 0; i < ELEMENTS(fatal); i++) {
        begin(&s);
        attach(&s, 100 * MSEC);
        send_twin(&s, fatal[i].command, fatal[i].flags, fatal[i].size, 8, fatal[i].bytes);
        is_dead(&s);
        end(&s);
    }
}

/* Replies that nobody asked for, while idle. */
static void test_stray_reply(void **state)
{
    struct scene s;
    begin(&s);
    attach(&s, 100 * MSEC);
    struct vfu_header h = {.msg_id = 999, .command = VFU_DMA_MAP, .size = 16, .flags = VFU_FLAG_REPLY};
    fake_send(s.f, &h, sizeof h);
    is_dead(&s);
    end(&s);
}

/* Two callers: one waits for the other, and says for what. */
static void *ask_in_thread(void *userdata)
{
    struct scene *s = userdata;
    report(s, NULL, NULL);
    return NULL;
}

static void test_two_callers(void **state)
{
    struct scene s;
    struct mig_error err = MIG_ERROR_INIT;
    pthread_t thread;
    begin(&s);
    attach(&s, 300 * MSEC);
    arm(VFU_DEVICE_FEATURE, REPORT, 450, answer_late);
    assert_int_equal(pthread_create(&thread, NULL, ask_in_thread, &s), 0);
    for (int i = 0; i < 300 && armed(); i++)
        usleep(1000);
    /* Waits for the socket until the other has given up, then for the late reply, then gets its own answer.
     */
    int r = get_state(&s, &err);
    assert_true(r == 0 || err.code == MIG_ERR_DEVICE_TIMEOUT);
    pthread_join(thread, NULL);
    usleep(300000);
    still_works(&s);
    end(&s);
}

/* An idle device costs nothing: its thread sleeps without a timeout. */
static long switches(void)
{
    DIR *d = opendir("/proc/self/task");
    long total = -1;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[400], line[256];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *f = fopen(path, "re");
        bool ours = false;
        while (f && fgets(line, sizeof line, f)) {
            long n;
            if (strcmp(line, "Name:\tvfio-user\n") == 0)
                ours = true;
            if (ours && (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ||
                         sscanf(line, "nonvoluntary_ctxt_switches: %ld", &n) == 1))
                total = (total < 0 ? 0 : total) + n;
        }
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return total;
}

static void test_idle(void **state)
{
    struct scene s;
    begin(&s);
    attach(&s, 50 * MSEC);
    usleep(50000);
    long before = switches();
    assert_true(before >= 0);
    usleep(400000);
    assert_int_equal(switches(), before);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_bad_content),
        cmocka_unit_test(test_log_page_sizes),
        cmocka_unit_test(test_error_payloads),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_late_reply),
        cmocka_unit_test(test_late_reply_awaited),
        cmocka_unit_test(test_late_in_the_middle),
        cmocka_unit_test(test_unwanted_descriptors),
        cmocka_unit_test(test_end_of_file),
        cmocka_unit_test(test_end_while_idle),
        cmocka_unit_test(test_end_of_twin_while_waiting),
        cmocka_unit_test(test_dma_lies),
        cmocka_unit_test(test_stray_reply),
        cmocka_unit_test(test_two_callers),
        cmocka_unit_test(test_idle),
    };
    alarm(170);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

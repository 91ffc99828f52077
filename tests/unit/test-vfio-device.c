/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel VFIO device on a driver that this file plays: one that walks states as the kernel's core lets
 * it, hands out one end of a socket as its data stream, and is as particular about its DMA log as drivers
 * are.
 */
#include "dirty/harvest.h"
#include "vfio/device.h"
#include "vfio/sysfs.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

enum { PAGES = 4096, RANGES = 1024 };
#define BASE      UINT64_C(0x100000000)
#define ALL_FLAGS (DEVICE_MIGRATION_STOP_COPY | DEVICE_MIGRATION_P2P | DEVICE_MIGRATION_PRE_COPY)

struct driver {
    struct kernel_calls calls;
    uint64_t flags;
    uint32_t state;
    int stream; /* our end of the data stream */
    bool no_stream;
    bool knows_v2,
        v2_on; /* PRECOPY_INFO with valid flags: on after it was asked for, until the next session */
    struct kvfio_precopy_info precopy;
    enum device_state refused, broken; /* SET of this state fails; and leaves ERROR */
    unsigned sets, opened, resets;

    bool no_log, no_report, log_left_on;
    unsigned max_ranges; /* that it takes */
    bool log_on;
    unsigned nranges, starts;
    struct kvfio_log_range ranges[RANGES];
    uint64_t log_page; /* its choice; 0: the wish */
    uint64_t log_page_now;
    bool dirty[PAGES];
    int report_rc;
};

static bool opens_stream(uint32_t from, uint32_t to)
{
    bool saving = from == DEVICE_STATE_PRE_COPY || from == DEVICE_STATE_PRE_COPY_P2P;
    return to == DEVICE_STATE_RESUMING || to == DEVICE_STATE_PRE_COPY ||
           (to == DEVICE_STATE_PRE_COPY_P2P && !saving) || (to == DEVICE_STATE_STOP_COPY && !saving);
}

static int set_state(struct driver *d, struct kvfio_mig_state *s)
{
    uint32_t from = d->state, to = s->state;
    d->sets++;
    s->data_fd = -1;
    if (to == d->refused)
        return -EIO;
    if (to == d->broken) {
        d->state = DEVICE_STATE_ERROR;
        return -EIO;
    }
    /* One arc at a time is what the device under test promises. */
    assert_int_equal(device_state_next((uint32_t)d->flags, from, to), to);
    if (from == to)
        return 0;
    d->state = to;
    bool saving = from == DEVICE_STATE_PRE_COPY || from == DEVICE_STATE_PRE_COPY_P2P;
    if (saving && to == DEVICE_STATE_PRE_COPY)
        return 0;
    if (opens_stream(from, to) && !d->no_stream) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        close_fd(&d->stream);
        d->stream = pair[0];
        s->data_fd = pair[1];
        d->opened++;
    }
    return 0;
}

static int log_start(struct driver *d, struct kvfio_log_control *c)
{
    const struct kvfio_log_range *r = (const void *)(uintptr_t)c->ranges;
    d->starts++;
    if (d->log_left_on || d->log_on)
        return -EBUSY;
    if (c->num_ranges == 0)
        return -EINVAL;
    if (c->num_ranges > KVFIO_LOG_RANGES_MAX || c->num_ranges > d->max_ranges)
        return -E2BIG;
    for (unsigned i = 0; i < c->num_ranges; i++)
        if (r[i].iova % c->page_size || r[i].length % c->page_size || r[i].length == 0)
            return -EINVAL;
    for (unsigned i = 0; i < c->num_ranges; i++)
        assert_true(i == 0 || r[i].iova > r[i - 1].iova + r[i - 1].length); /* sorted, joined, apart */
    d->nranges = c->num_ranges;
    memcpy(d->ranges, r, c->num_ranges * sizeof *r);
    d->log_on = true;
    if (d->log_page)
        c->page_size = d->log_page;
    d->log_page_now = c->page_size;
    return 0;
}

static int log_report(struct driver *d, const struct kvfio_log_report *r)
{
    uint64_t *words = (uint64_t *)(uintptr_t)r->bitmap;
    if (d->no_report)
        return -EOPNOTSUPP;
    if (!d->log_on)
        return -EINVAL;
    if (d->report_rc)
        return d->report_rc;
    /* It logs in pages of its choice: what is said of a part of one is said and cleared of all of it. */
    uint64_t per = d->log_page_now / 4096, first = (r->iova - BASE) / 4096, count = r->length / 4096;
    for (uint64_t p = first - first % per; p < first + count && p < PAGES; p += per) {
        bool any = false;
        for (uint64_t i = p; i < MIN(p + per, (uint64_t)PAGES); i++) {
            any |= d->dirty[i];
            d->dirty[i] = false;
        }
        for (uint64_t i = MAX(p, first); any && i < MIN(p + per, first + count); i++) {
            uint64_t bit = (i - first) * 4096 / r->page_size;
            words[bit / 64] |= UINT64_C(1) << (bit % 64);
        }
    }
    return 0;
}

static int feature(struct driver *d, struct kvfio_feature *f)
{
    void *data = f + 1;
    uint32_t index = f->flags & 0xffff;
    bool probe = f->flags & KVFIO_FEATURE_PROBE, get = f->flags & KVFIO_FEATURE_GET;
    switch (index) {
    case KVFIO_FEATURE_MIGRATION:
        memcpy(data, &d->flags, sizeof d->flags);
        return d->flags ? 0 : -ENOTTY;
    case KVFIO_FEATURE_DEVICE_STATE:
        if (get)
            *(struct kvfio_mig_state *)data = (struct kvfio_mig_state){.state = d->state, .data_fd = -1};
        return get ? 0 : set_state(d, data);
    case KVFIO_FEATURE_MIG_PRECOPY_INFO_V2:
        if (!d->knows_v2 || get)
            return -ENOTTY;
        d->v2_on |= !probe;
        return 0;
    case KVFIO_FEATURE_LOG_START:
        return d->no_log ? -ENOTTY : probe ? 0 : log_start(d, data);
    case KVFIO_FEATURE_LOG_STOP:
        if (!probe) {
            if (!d->log_on && !d->log_left_on)
                return -EINVAL;
            d->log_on = d->log_left_on = false;
        }
        return 0;
    case KVFIO_FEATURE_LOG_REPORT:
        return probe ? 0 : log_report(d, data);
    default:
        return -ENOTTY;
    }
}

static int call(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    struct driver *d = CONTAINER_OF(calls, struct driver, calls);
    struct kvfio_device_info *i = arg;
    switch (request) {
    case KVFIO_DEVICE_GET_INFO:
        i->flags = KVFIO_DEVICE_FLAG_RESET;
        i->num_regions = 9;
        i->num_irqs = 5;
        return 0;
    case KVFIO_DEVICE_FEATURE:
        return feature(d, arg);
    case KVFIO_MIG_GET_PRECOPY_INFO: {
        struct kvfio_precopy_info *p = arg;
        assert_int_equal(p->argsz, sizeof *p);
        assert_true(fd != -1);
        if (d->state != DEVICE_STATE_PRE_COPY && d->state != DEVICE_STATE_PRE_COPY_P2P)
            return -EINVAL;
        *p = d->precopy;
        p->flags = d->v2_on ? d->precopy.flags : 0xdeadbeef; /* garbage before */
        return 0;
    }
    case KVFIO_DEVICE_RESET:
        d->resets++;
        d->state = DEVICE_STATE_RUNNING;
        return 0;
    default:
        return -ENOTTY;
    }
}

/* ---- the rig ---- */

struct rig {
    struct driver d;
    int fd;
    struct device *device;
    struct region *region;
    struct mig_error e;
};

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    g->d = (struct driver){
        .calls = {call}, .flags = ALL_FLAGS, .state = DEVICE_STATE_RUNNING, .stream = -1, .max_ranges = 256};
    g->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(region_new_made(&g->region, "ram", PAGES * 4096, 0, -1, &g->e), 0);
    signal(SIGPIPE, SIG_IGN);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    device_unref(g->device);
    assert_false(g->d.log_on);
    close_fd(&g->d.stream);
    close_fd(&g->fd);
    assert_int_equal(g->region->refs, 1);
    region_unref(g->region);
    free(g);
    return 0;
}

static void make(struct rig *g)
{
    const struct kvfio_device_options o = {
        .fd = g->fd, .gone_fd = -1, .timeout_usec = 50000, .calls = &g->d.calls};
    if (kvfio_device_new(&g->device, "nic0", &o, &g->e) < 0)
        fail_msg("%s", g->e.message);
}

static void go(struct rig *g, enum device_state s)
{
    enum device_state reached;
    if (g->device->ops->set_state(g->device, s, &reached, &g->e) < 0)
        fail_msg("%s", g->e.message);
    assert_int_equal(reached, s);
}

static ssize_t take(struct rig *g, char *buf, size_t size)
{
    return g->device->ops->read_state(g->device, buf, size, &g->e);
}

static void test_save(void **state)
{
    struct rig *g = *state;
    char buf[16];
    make(g);
    assert_int_equal(take(g, buf, sizeof buf), -ESTALE);
    go(g, DEVICE_STATE_PRE_COPY);
    assert_int_equal(take(g, buf, sizeof buf), -ENOMSG);
    assert_int_equal(write(g->d.stream, "early", 5), 5);
    assert_int_equal(take(g, buf, sizeof buf), 5);
    assert_int_equal(take(g, buf, sizeof buf), -ENOMSG);
    go(g, DEVICE_STATE_STOP_COPY); /* through PRE_COPY_P2P */
    assert_int_equal(g->d.opened, 1);
    assert_int_equal(write(g->d.stream, "late", 4), 4);
    assert_int_equal(take(g, buf, 2), 2);
    assert_int_equal(take(g, buf, sizeof buf), 2);
    assert_int_equal(take(g, buf, sizeof buf), -ETIMEDOUT); /* it stands still and says nothing */
    assert_non_null(strstr(g->e.message, "nic0"));
    shutdown(g->d.stream, SHUT_WR);
    assert_int_equal(take(g, buf, sizeof buf), 0);
    assert_int_equal(take(g, buf, sizeof buf), 0);
    go(g, DEVICE_STATE_RUNNING);
    assert_int_equal(take(g, buf, sizeof buf), -ESTALE);
    assert_int_equal(recv(g->d.stream, buf, 1, MSG_DONTWAIT), 0); /* it closed its end */
}

static struct device_precopy precopy(struct rig *g)
{
    struct device_precopy p = {.initial_bytes = 1};
    if (g->device->ops->precopy_info(g->device, &p, &g->e) < 0)
        fail_msg("%s", g->e.message);
    return p;
}

static void test_precopy_info(void **state)
{
    struct rig *g = *state;
    struct device_precopy p;
    make(g);
    assert_false(g->device->ops->info(g->device)->tells_renewal);
    assert_int_equal(g->device->ops->precopy_info(g->device, &p, &g->e), -ESTALE);
    go(g, DEVICE_STATE_PRE_COPY);
    g->d.precopy.initial_bytes = 5;
    g->d.precopy.dirty_bytes = 7;
    p = precopy(g);
    assert_int_equal(p.initial_bytes, 5);
    assert_int_equal(p.dirty_bytes, 7);
    assert_false(p.renewed); /* whatever the flags are */
    go(g, DEVICE_STATE_STOP_COPY);
    mig_error_clear(&g->e);
    assert_int_equal(g->device->ops->precopy_info(g->device, &p, &g->e), -EINVAL);
    go(g, DEVICE_STATE_RUNNING);
    device_unref(g->device);

    /* A kernel that has the second version. */
    g->d.knows_v2 = true;
    make(g);
    assert_true(g->device->ops->info(g->device)->tells_renewal);
    assert_false(g->d.v2_on); /* asked, not ordered */
    go(g, DEVICE_STATE_PRE_COPY);
    assert_true(g->d.v2_on);
    g->d.precopy.flags = 0;
    assert_false(precopy(g).renewed);
    g->d.precopy.flags = KVFIO_PRECOPY_INFO_RENEWED | 0x80;
    assert_true(precopy(g).renewed);
    go(g, DEVICE_STATE_PRE_COPY_P2P); /* the same session */
    assert_true(precopy(g).renewed);
    go(g, DEVICE_STATE_RUNNING);
    g->d.v2_on = false; /* each session is asked for anew */
    go(g, DEVICE_STATE_PRE_COPY);
    assert_true(g->d.v2_on);
}

static void test_fewer_states(void **state)
{
    struct rig *g = *state;
    enum device_state reached;
    g->d.flags = DEVICE_MIGRATION_STOP_COPY;
    make(g);
    assert_int_equal(g->device->ops->set_state(g->device, DEVICE_STATE_RUNNING_P2P, &reached, &g->e),
                     -EOPNOTSUPP);
    assert_int_equal(reached, DEVICE_STATE_RUNNING);
    go(g, DEVICE_STATE_STOP_COPY);
    assert_int_equal(g->d.sets, 2);
    go(g, DEVICE_STATE_RUNNING);
}

static void test_refused_transitions(void **state)
{
    struct rig *g = *state;
    enum device_state reached;
    char steps[300];
    make(g);
    g->d.refused = DEVICE_STATE_STOP;
    assert_int_equal(g->device->ops->set_state(g->device, DEVICE_STATE_STOP_COPY, &reached, &g->e), -EIO);
    assert_int_equal(reached, DEVICE_STATE_RUNNING_P2P); /* on the way */
    assert_int_equal(device_recover(g->device, DEVICE_STATE_RUNNING, DEVICE_STATE_STOP_COPY, &reached, steps,
                                    sizeof steps, &g->e),
                     0);
    assert_int_equal(reached, DEVICE_STATE_RUNNING);
    assert_int_equal(g->d.resets, 0);
    g->d.refused = DEVICE_STATE_ERROR;
    g->d.broken = DEVICE_STATE_STOP;
    assert_int_equal(g->device->ops->set_state(g->device, DEVICE_STATE_STOP, &reached, &g->e), -EIO);
    assert_int_equal(reached, DEVICE_STATE_ERROR);
    assert_int_equal(g->device->ops->set_state(g->device, DEVICE_STATE_RUNNING, &reached, &g->e), -ESTALE);
    assert_non_null(strstr(g->e.hint, "reset"));
    assert_int_equal(device_recover(g->device, DEVICE_STATE_RUNNING, DEVICE_STATE_STOP, &reached, steps,
                                    sizeof steps, &g->e),
                     1); /* it took a reset */
    assert_int_equal(reached, DEVICE_STATE_RUNNING);
    assert_int_equal(g->d.resets, 1);
    g->d.broken = DEVICE_STATE_ERROR;
    g->d.no_stream = true;
    assert_int_equal(g->device->ops->set_state(g->device, DEVICE_STATE_PRE_COPY, &reached, &g->e), -EPROTO);
}

static void test_refused_data(void **state)
{
    struct rig *g = *state;
    enum device_state reached;
    char buf[8];
    make(g);
    go(g, DEVICE_STATE_RESUMING);
    assert_int_equal(g->device->ops->write_state(g->device, "state", 5, &g->e), 0);
    assert_int_equal(read(g->d.stream, buf, sizeof buf), 5);
    close_fd(&g->d.stream);
    assert_int_equal(g->device->ops->write_state(g->device, "more", 4, &g->e), -EPIPE);
    /* The driver would take RUNNING all the same. */
    assert_int_equal(g->device->ops->set_state(g->device, DEVICE_STATE_RUNNING, &reached, &g->e), -ESTALE);
    assert_int_equal(reached, DEVICE_STATE_RESUMING);
    assert_int_equal(g->device->ops->reset(g->device, &g->e), 0);
    go(g, DEVICE_STATE_RESUMING);
    go(g, DEVICE_STATE_RUNNING);
}

/* Somebody else resets it: the stream breaks, and that is said as it is. */
static void test_reset_by_somebody_else(void **state)
{
    struct rig *g = *state;
    char buf[8];
    make(g);
    go(g, DEVICE_STATE_STOP_COPY);
    g->d.state = DEVICE_STATE_RUNNING;
    assert_int_equal(take(g, buf, sizeof buf),
                     -EIO); /* the fake's stream has nothing to say until it is late */
    assert_int_equal(g->e.code, MIG_ERR_DEVICE);
    assert_non_null(strstr(g->e.message, "reset"));
    mig_error_clear(&g->e);
    assert_int_equal(take(g, buf, sizeof buf), -ESTALE);
    go(g, DEVICE_STATE_RESUMING);
    g->d.state = DEVICE_STATE_RUNNING;
    close_fd(&g->d.stream);
    mig_error_clear(&g->e);
    assert_int_equal(g->device->ops->write_state(g->device, "x", 1, &g->e), -EIO);
    assert_non_null(strstr(g->e.message, "resuming"));
    go(g, DEVICE_STATE_RESUMING); /* nothing of it is left */
    assert_int_equal(g->device->ops->write_state(g->device, "x", 1, &g->e), 0);
}

static void map(struct rig *g, uint64_t page, uint64_t pages)
{
    struct iova_mapping m = {BASE + page * 4096, pages * 4096, g->region, page * 4096,
                             IOVA_READ | IOVA_WRITE};
    if (g->device->ops->dma_map(g->device, &m, &g->e) < 0)
        fail_msg("%s", g->e.message);
}

static void add_pages(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                      const uint64_t *words, uint64_t nbits)
{
    const struct bitmap bits = bitmap_view(words, nbits);
    bitmap_for_each_run (&bits, first, count)
        *(uint64_t *)userdata += count * page_bytes / 4096;
}

static uint64_t report(struct rig *g)
{
    uint64_t pages = 0;
    if (g->device->ops->log_report(g->device, add_pages, &pages, &g->e) < 0)
        fail_msg("%s", g->e.message);
    return pages;
}

static void test_log_ranges(void **state)
{
    struct rig *g = *state;
    uint64_t page = 4096;
    make(g);
    /* 600 mappings of two pages, two of them adjacent, gaps of one page but for a few wide ones. */
    for (unsigned i = 0; i < 600; i++)
        map(g, i * 3 + (i >= 300 ? 1000 : 0) + (i >= 500 ? 500 : 0), i == 10 ? 3 : 2);
    g->d.max_ranges = 5;
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), 0);
    assert_true(g->d.nranges <= 5 && g->d.nranges >= 3);
    uint64_t covered = 0;
    for (unsigned i = 0; i < g->d.nranges; i++)
        covered += g->d.ranges[i].length / 4096;
    assert_true(covered < 1900); /* the wide gaps are not in it */
    g->d.dirty[0] = g->d.dirty[1] = g->d.dirty[1300 + 600] = true;
    assert_int_equal(report(g), 3);
    assert_int_equal(report(g), 0);
    /* Later, and outside of what was announced: always written. */
    map(g, 4000, 7);
    assert_int_equal(report(g), 7);
    assert_int_equal(report(g), 7);
    /* The last bits of an unmap are marks. */
    g->d.dirty[3] = true;
    assert_int_equal(g->device->ops->dma_unmap(g->device, BASE + 3 * 4096, 2 * 4096, &g->e), 0);
    assert_int_equal(region_take_marks(g->region), 1);
    assert_int_equal(g->device->ops->log_stop(g->device, &g->e), 0);
    assert_int_equal(g->device->ops->log_report(g->device, add_pages, &page, &g->e), -ESTALE);
}

static void test_log_particulars(void **state)
{
    struct rig *g = *state;
    uint64_t page = 4096;
    make(g);
    /* Nothing is mapped: there is nothing to log, and the driver is not asked. */
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), 0);
    assert_int_equal(g->d.starts, 0);
    assert_int_equal(g->device->ops->log_stop(g->device, &g->e), 0);
    map(g, 0, 64);
    /* Somebody left it on, and the driver likes other pages. */
    g->d.log_left_on = true;
    g->d.log_page = 65536;
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), 0);
    assert_int_equal(page, 65536);
    g->d.dirty[20] = true;
    assert_int_equal(report(g), 16);
    /* What the last bits were is not known: all of it. */
    g->d.report_rc = -EIO;
    assert_int_equal(g->device->ops->dma_unmap(g->device, BASE, 64 * 4096, &g->e), 0);
    assert_int_equal(region_take_marks(g->region), 64);
    assert_int_equal(g->device->ops->log_stop(g->device, &g->e), 0);
    map(g, 0, 64);
    g->d.log_page = 1000;
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), -EPROTO);
    assert_false(g->d.log_on);
}

/* Whole pages of the size that is wished for: the kernel refuses others, and ranges that overlap then. */
static void test_log_wish(void **state)
{
    struct rig *g = *state;
    uint64_t page = 65536;
    make(g);
    map(g, 1, 3);
    map(g, 5, 2);  /* in the same 64 KiB */
    map(g, 14, 3); /* into the next */
    map(g, 100, 1);
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), 0);
    assert_int_equal(g->d.nranges, 2);
    assert_int_equal(g->d.ranges[0].iova, BASE);
    assert_int_equal(g->d.ranges[0].length, 32 * 4096);
    assert_int_equal(g->d.ranges[1].iova, BASE + 96 * 4096);
    assert_int_equal(g->d.ranges[1].length, 16 * 4096);
    g->d.dirty[15] = g->d.dirty[100] = true;
    assert_true(report(g) > 0);
    assert_int_equal(report(g), 0);
}

/* Two mappings in one page of the log: whoever is read first clears it for both. */
static void test_log_pages_that_are_shared(void **state)
{
    struct rig *g = *state;
    struct tracker *t;
    make(g);
    map(g, 1, 3);
    map(g, 5, 2);
    map(g, 14, 40);
    map(g, 63, 1);
    map(g, 64, 1);
    assert_int_equal(tracker_new_device(&t, "nic0", g->device, 65536, &g->e), 0);
    struct harvest_set set = {&t, 1, &g->region, 1};
    assert_int_equal(harvest_start(&set, &g->e), 0);
    static const unsigned written[] = {6, 2, 15, 40, 53, 63, 64};
    for (size_t i = 0; i < ELEMENTS(written); i++) {
        bitmap_clear_all(g->region->dirty);
        g->d.dirty[written[i]] = true;
        assert_int_equal(harvest_run(&set, NULL, &g->e), 0);
        assert_true(bitmap_test(g->region->dirty, written[i]));
        assert_true(bitmap_count(g->region->dirty) <= 16);
        bitmap_clear_all(g->region->dirty);
        assert_int_equal(harvest_run(&set, NULL, &g->e), 0);
        assert_int_equal(bitmap_count(g->region->dirty), 0);
    }
    /* The last bits of an unmap, too. */
    g->d.dirty[6] = g->d.dirty[2] = true;
    assert_int_equal(g->device->ops->dma_unmap(g->device, BASE + 5 * 4096, 2 * 4096, &g->e), 0);
    assert_int_equal(harvest_run(&set, NULL, &g->e), 0);
    assert_true(bitmap_test(g->region->dirty, 6) && bitmap_test(g->region->dirty, 2));
    tracker_free(t);
}

/* Only bits are set, so what a buffer held before would be reported again. */
static void test_log_buffers_are_zeroed(void **state)
{
    struct rig *g = *state;
    uint64_t page = 4096;
    make(g);
    map(g, 0, 512);
    map(g, 600, 512);
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), 0);
    for (unsigned i = 0; i < 512; i++)
        g->d.dirty[i] = true;
    assert_int_equal(report(g), 512); /* not 1024 */
    assert_int_equal(report(g), 0);
}

/* A report that fails: everything that the device may write counts as written, but at the gate. */
static void test_log_that_fails(void **state)
{
    struct rig *g = *state;
    struct tracker *t;
    struct gate_finding f;
    make(g);
    map(g, 0, 64);
    assert_int_equal(tracker_new_device(&t, "nic0", g->device, 4096, &g->e), 0);
    struct harvest_set set = {&t, 1, &g->region, 1};
    assert_int_equal(harvest_start(&set, &g->e), 0);
    g->d.dirty[3] = true;
    g->d.report_rc = -EIO;
    assert_int_equal(harvest_run(&set, NULL, &g->e), 0);
    assert_int_equal(bitmap_count(g->region->dirty), 64);
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_gate(&set, &f, &g->e), -EIO);
    assert_non_null(strstr(g->e.message, "nic0"));
    g->d.report_rc = 0;
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_run(&set, NULL, &g->e), 0);
    assert_int_equal(bitmap_count(g->region->dirty), 1);
    tracker_free(t);
}

/* A kernel without iommufd takes the start and refuses the report. */
static void test_log_without_report(void **state)
{
    struct rig *g = *state;
    uint64_t page = 4096;
    g->d.no_report = true;
    make(g);
    assert_false(g->device->ops->info(g->device)->dirty_log);
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), -EOPNOTSUPP);
    assert_non_null(strstr(g->e.hint, "iommufd"));
    assert_int_equal(g->d.starts, 0);
}

static void test_plain_device(void **state)
{
    struct rig *g = *state;
    enum device_state s;
    g->d.flags = 0;
    g->d.no_log = true;
    make(g);
    assert_int_equal(g->device->ops->info(g->device)->migration_flags, 0);
    assert_false(g->device->ops->info(g->device)->dirty_log);
    assert_int_equal(g->device->ops->get_state(g->device, &s, &g->e), -EOPNOTSUPP);
    assert_non_null(strstr(g->e.hint, "variant driver"));
    assert_int_equal(g->device->ops->reset(g->device, &g->e), 0);
}

/* The kernel goes on answering for a process that is dead. */
static void test_dead_holder(void **state)
{
    struct rig *g = *state;
    enum device_state reached;
    uint64_t page = 4096;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const struct kvfio_device_options o = {
        .fd = g->fd, .gone_fd = ends[0], .timeout_usec = 50000, .calls = &g->d.calls};
    assert_int_equal(kvfio_device_new(&g->device, "nic0", &o, &g->e), 0);
    map(g, 0, 4);
    assert_int_equal(g->device->ops->log_start(g->device, &page, &g->e), 0);
    go(g, DEVICE_STATE_PRE_COPY);
    close_fd(&ends[1]); /* as readable as the pidfd of a process that has ended */
    assert_int_equal(g->device->ops->log_report(g->device, add_pages, NULL, &g->e), -ENODEV);
    assert_int_equal(g->e.code, MIG_ERR_DEVICE_GONE);
    assert_non_null(strstr(g->e.message, "the process that holds it"));
    mig_error_clear(&g->e);
    assert_int_equal(g->device->ops->set_state(g->device, DEVICE_STATE_STOP_COPY, &reached, &g->e), -ENODEV);
    assert_int_equal(g->e.code, MIG_ERR_DEVICE_GONE);
    assert_int_equal(reached, DEVICE_STATE_PRE_COPY);
    assert_int_equal(g->device->ops->log_stop(g->device, &g->e), 0);
    close_fd(&ends[0]);
}

static int path_in(const char *text, char *buf, size_t size)
{
    FILE *f = fmemopen((void *)text, strlen(text), "r");
    int r = kvfio_sysfs_path_from(f, buf, size);
    fclose(f);
    return r;
}

static void test_what_fdinfo_tells(void **state)
{
    char path[64];
    assert_int_equal(path_in("pos:\t0\nflags:\t02000002\nvfio-device-syspath: "
                             "/sys/devices/pci0000:00/0000:00:04.0\nino:\t9\n",
                             path, sizeof path),
                     0);
    assert_string_equal(path, "/sys/devices/pci0000:00/0000:00:04.0");
    assert_int_equal(path_in("pos:\t0\nflags:\t02000002\n", path, sizeof path), -ENODATA);
    assert_int_equal(path_in("vfio-device-syspath: /etc/passwd\n", path, sizeof path), -ENODATA);
    assert_int_equal(path_in("vfio-device-syspath: /sys/../etc\n", path, sizeof path), -ENODATA);
    assert_int_equal(path_in("vfio-device-syspath: /sys/devices\n", path, 8), -ENAMETOOLONG);
    assert_int_equal(kvfio_sysfs_path(0, path, sizeof path), -ENODATA); /* no VFIO device */
    assert_int_equal(kvfio_sysfs_path(-1, path, sizeof path), -ENODATA);
}

static void test_the_driver_is_known(void **state)
{
    struct rig *g = *state;
    char dir[] = "/tmp/migd-sysfs-XXXXXX", link[64], name[16];
    assert_non_null(mkdtemp(dir));
    snprintf(link, sizeof link, "%s/driver", dir);
    assert_int_equal(kvfio_sysfs_driver(dir, name, sizeof name), -ENOENT); /* unbound */
    assert_int_equal(symlink("../../../bus/pci/drivers/mlx5_vfio_pci", link), 0);
    assert_int_equal(kvfio_sysfs_driver(dir, name, sizeof name), 0);
    assert_string_equal(name, "mlx5_vfio_pci");
    assert_int_equal(kvfio_sysfs_driver(dir, name, 8), -ENAMETOOLONG);
    const struct kvfio_device_options o = {
        .fd = g->fd, .gone_fd = -1, .sysfs_path = dir, .calls = &g->d.calls};
    assert_int_equal(kvfio_device_new(&g->device, "nic0", &o, &g->e), 0);
    assert_string_equal(g->device->ops->info(g->device)->driver, "mlx5_vfio_pci");
    device_unref(g->device);
    make(g); /* nobody tells of /dev/null */
    assert_string_equal(g->device->ops->info(g->device)->driver, "");
    unlink(link);
    rmdir(dir);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_save),
        T(test_fewer_states),
        T(test_refused_transitions),
        T(test_refused_data),
        T(test_log_ranges),
        T(test_log_particulars),
        T(test_log_without_report),
        T(test_plain_device),
        T(test_dead_holder),
        T(test_what_fdinfo_tells),
        T(test_the_driver_is_known),
        T(test_precopy_info),
        T(test_log_pages_that_are_shared),
        T(test_log_wish),
        T(test_log_buffers_are_zeroed),
        T(test_log_that_fails),
        T(test_reset_by_somebody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Harvest, attribution, the gate, and the trackers that need no other process: cpu-log and all. */
#include "dirty/harvest.h"
#include "test-random.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

enum { PAGES = 10007 };

/* A log as the VMM sees it. */
struct vmm_log {
    int fd;
    uint64_t *words;
};

static struct vmm_log vmm_log(uint64_t bytes, uint64_t offset)
{
    struct vmm_log l = {.fd = memfd_create("log", MFD_CLOEXEC)};
    assert_true(l.fd >= 0);
    assert_int_equal(ftruncate(l.fd, (off_t)(offset + bytes)), 0);
    uint8_t *p = mmap(NULL, offset + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l.fd, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    l.words = (uint64_t *)(p + offset);
    return l;
}

static void vmm_writes(struct vmm_log *l, uint64_t bit)
{
    __atomic_fetch_or(&l->words[bit / 64], UINT64_C(1) << (bit % 64), __ATOMIC_SEQ_CST);
}

static struct region *new_region(const char *name, uint64_t pages)
{
    struct region *r = NULL;
    assert_int_equal(region_new_made(&r, name, pages * 4096, 0, -1, NULL), 0);
    return r;
}

static void test_cpu_log(void **state)
{
    struct rnd rnd = {5};
    struct region *r = new_region("ram", PAGES);
    struct vmm_log log = vmm_log(div_round_up(PAGES, 64) * 8, 40);
    struct tracker *t = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 40, 4096, &e), 0);
    struct harvest_set set = {&t, 1, &r, 1};
    struct harvest_result got;
    vmm_writes(&log, 17); /* before the start: round 0 sends it anyway */
    assert_int_equal(harvest_start(&set, &e), 0);
    assert_int_equal(log.words[0], 0);
    assert_int_equal(harvest_run(&set, &got, &e), 0);
    assert_int_equal(got.pages_reported, 0);
    for (int round = 0; round < 30; round++) {
        uint8_t model[PAGES] = {0};
        uint64_t n = 0;
        for (int i = 0; i < round * round * 4; i++) {
            uint64_t page = rnd_below(&rnd, PAGES);
            n += !model[page];
            model[page] = 1;
            vmm_writes(&log, page);
        }
        log.words[PAGES / 64] |= UINT64_C(1) << 63; /* a bit beyond the end means nothing */
        struct gate_finding f;
        assert_int_equal(harvest_gate(&set, &f, &e), 0); /* a peek leaves the log as it is */
        assert_int_equal(f.pages, n);
        bitmap_clear_all(r->dirty);
        assert_int_equal(harvest_run(&set, &got, &e), 0);
        assert_int_equal(got.pages_reported, n);
        assert_int_equal(got.pages_new, n);
        for (uint64_t i = 0; i < PAGES; i++)
            assert_int_equal(bitmap_test(r->dirty, i), model[i]);
        bitmap_clear_all(r->dirty);
        assert_int_equal(harvest_run(&set, &got, &e), 0);
        assert_int_equal(got.pages_reported, 0);
    }
    /* What the gate found and sends again it does not find once more. */
    struct gate_finding found;
    vmm_writes(&log, 9);
    assert_int_equal(harvest_gate(&set, &found, &e), 0);
    assert_int_equal(found.pages, 1);
    vmm_writes(&log, 10); /* after the question, before the pages are read */
    assert_int_equal(harvest_clear_gate(&set, &e), 0);
    assert_true(bitmap_test(r->dirty, 9) && bitmap_test(r->dirty, 10));
    bitmap_clear_all(r->dirty);
    assert_int_equal(harvest_gate(&set, &found, &e), 0);
    assert_int_equal(found.pages, 0);
    harvest_stop(&set);
    tracker_free(t);

    /* 64 KiB per bit, and the last bit reaches beyond the region. */
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 0, 65536, &e), 0);
    assert_int_equal(t->granularity_bytes, 65536);
    assert_int_equal(harvest_start(&set, &e), 0);
    struct vmm_log low = {log.fd, log.words - 5};
    vmm_writes(&low, 3);
    vmm_writes(&low, PAGES / 16);
    assert_int_equal(harvest_run(&set, &got, &e), 0);
    assert_int_equal(got.pages_reported, 16 + PAGES % 16);
    assert_true(bitmap_test(r->dirty, 48) && bitmap_test(r->dirty, 63) && !bitmap_test(r->dirty, 64));
    assert_true(bitmap_test(r->dirty, PAGES - 1));
    tracker_free(t);
    munmap(log.words - 5, 40 + div_round_up(PAGES, 64) * 8);
    close(log.fd);
    region_unref(r);
}

static void test_cpu_log_refused(void **state)
{
    struct region *r = new_region("ram", 1000);
    struct vmm_log log = vmm_log(128, 0); /* 1000 pages take 16 words: exactly 128 bytes */
    struct tracker *t = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 8, 4096, &e), -EINVAL);
    assert_non_null(strstr(e.message, "too small"));
    assert_non_null(strstr(e.hint, "128 bytes"));
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 4, 4096, &e), -EINVAL);
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, UINT64_MAX - 7, 4096, &e), -EINVAL);
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 0, 5000, &e), -EINVAL);
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 0, 0, &e), -EINVAL);
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 0, 1024, &e), -EINVAL);
    assert_int_equal(tracker_new_cpu_log(&t, "", r, log.fd, 0, 4096, &e), -EINVAL);
    int reader = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, reader, 0, 4096, &e), -EINVAL);
    assert_true(tracker_new_cpu_log(&t, "cpu", r, -1, 0, 4096, &e) < 0);
    assert_null(t);
    assert_int_equal(tracker_new_cpu_log(&t, "cpu", r, log.fd, 0, 4096, &e), 0);
    tracker_free(t);
    close(reader);
    munmap(log.words, 128);
    close(log.fd);
    assert_int_equal(r->refs, 1);
    region_unref(r);
}

/* A tracker made of a list of ranges, which can fail. */
struct fake {
    struct tracker base;
    struct region *region;
    uint64_t first[4], count[4];
    int nranges, start_rc, harvest_rc, started_times, stopped_times, peeks;
};

static int fake_start(struct tracker *t, struct mig_error *err)
{
    struct fake *f = CONTAINER_OF(t, struct fake, base);
    if (f->start_rc < 0)
        return mig_error_set(err, MIG_ERR_TRACKER, -f->start_rc, "the fake does not start");
    f->started_times++;
    return 0;
}

static void fake_stop(struct tracker *t)
{
    CONTAINER_OF(t, struct fake, base)->stopped_times++;
}

static int fake_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct fake *f = CONTAINER_OF(t, struct fake, base);
    f->peeks += peek;
    for (int i = 0; i < f->nranges; i++)
        dirty_sink_range(sink, f->region, f->first[i], f->count[i]);
    if (!peek)
        f->nranges = 0;
    return f->harvest_rc < 0 ? mig_error_set(err, MIG_ERR_TRACKER, -f->harvest_rc, "the fake is gone") : 0;
}

static void fake_destroy(struct tracker *t)
{
}

static const struct tracker_ops fake_ops = {.kind = "fake",
                                            .answers_gate = true,
                                            .start = fake_start,
                                            .stop = fake_stop,
                                            .harvest = fake_harvest,
                                            .destroy = fake_destroy};

static void fake_dirty(struct fake *f, uint64_t first, uint64_t count)
{
    f->first[f->nranges] = first;
    f->count[f->nranges++] = count;
}

static void test_harvest(void **state)
{
    struct region *r = new_region("ram", 1000);
    struct fake a = {.region = r}, b = {.region = r};
    assert_int_equal(tracker_init(&a.base, &fake_ops, "nic0", "nic0", NULL), 0);
    assert_int_equal(tracker_init(&b.base, &fake_ops, "gpu0", "gpu0", NULL), 0);
    struct tracker *trackers[] = {&a.base, &b.base};
    struct harvest_set set = {trackers, 2, &r, 1};
    struct mig_error e = MIG_ERROR_INIT;
    struct harvest_result got;

    /* The second does not start: the first is stopped again. */
    b.start_rc = -EIO;
    assert_int_equal(harvest_start(&set, &e), -EIO);
    assert_non_null(strstr(e.message, "gpu0"));
    assert_int_equal(a.started_times, 1);
    assert_int_equal(a.stopped_times, 1);
    assert_int_equal(b.stopped_times, 0);
    b.start_rc = 0;
    assert_int_equal(harvest_start(&set, &e), 0);

    /* Both report 5 pages in common; a mark adds one, and one that was known. */
    fake_dirty(&a, 10, 20);
    fake_dirty(&b, 25, 10);
    fake_dirty(&b, 990, 500); /* beyond the end: cut */
    region_mark(r, 12, 1);
    region_mark(r, 500, 1);
    assert_int_equal(harvest_run(&set, &got, &e), 0);
    assert_int_equal(got.pages_reported, 20 + 10 + 10);
    assert_int_equal(got.pages_new, 25 + 10 + 1);
    assert_int_equal(harvest_pending_pages(&set), 36);
    assert_int_equal(a.base.counters.pages_reported, 20);
    assert_int_equal(a.base.counters.pages_first, 20);
    assert_int_equal(b.base.counters.pages_reported, 20);
    assert_int_equal(b.base.counters.pages_first, 15);
    assert_int_equal(b.base.counters.harvests, 1);

    /* One fails for good: the other is read all the same, and the error says who. */
    bitmap_clear_all(r->dirty);
    a.harvest_rc = -ENODEV;
    fake_dirty(&a, 1, 1);
    fake_dirty(&b, 2, 1);
    mig_error_clear(&e);
    assert_int_equal(harvest_run(&set, &got, &e), -ENODEV);
    assert_string_equal(e.message, "the fake is gone");
    assert_int_equal(harvest_pending_pages(&set), 2);
    b.harvest_rc = -EIO; /* both: the first error stays */
    assert_int_equal(harvest_run(&set, NULL, &e), -ENODEV);
    harvest_stop(&set);
    assert_int_equal(b.stopped_times, 1);
    assert_int_equal(harvest_start(&set, &e), 0); /* attribution is since the start */
    assert_int_equal(b.base.counters.pages_reported, 0);
    region_unref(r);
}

static void test_gate(void **state)
{
    struct region *r = new_region("ram", 1000), *other = new_region("rom", 50);
    struct fake a = {.region = r}, b = {.region = other};
    assert_int_equal(tracker_init(&a.base, &fake_ops, "nic0", "nic0", NULL), 0);
    assert_int_equal(tracker_init(&b.base, &fake_ops, "gpu0", "gpu0", NULL), 0);
    struct tracker *trackers[] = {&a.base, &b.base, NULL};
    struct region *regions[] = {r, other};
    struct harvest_set set = {trackers, 2, regions, 2};
    struct mig_error e = MIG_ERROR_INIT;
    struct gate_finding f;
    assert_int_equal(harvest_gate(&set, &f, &e), 0);
    assert_int_equal(f.pages, 0);
    assert_int_equal(f.ranges, 0);
    assert_false(f.needs_digests);
    assert_int_equal(a.peeks, 1);

    fake_dirty(&a, 100, 3);
    fake_dirty(&a, 103, 2); /* goes on: one range */
    fake_dirty(&a, 7, 1);
    fake_dirty(&b, 49, 1);
    region_mark(other, 3, 2);
    assert_int_equal(harvest_gate(&set, &f, &e), 0);
    assert_int_equal(f.pages, 9);
    assert_int_equal(f.ranges, 4);
    assert_null(f.range[0].tracker);
    assert_ptr_equal(f.range[0].region, other);
    assert_int_equal(f.range[0].first_page, 3);
    assert_int_equal(f.range[0].npages, 2);
    assert_ptr_equal(f.range[1].tracker, &a.base);
    assert_int_equal(f.range[1].first_page, 100);
    assert_int_equal(f.range[1].npages, 5);
    assert_ptr_equal(f.range[3].tracker, &b.base);
    assert_ptr_equal(f.range[3].region, other);
    assert_int_equal(a.base.counters.gate_pages, 6);
    assert_int_equal(a.base.counters.pages_reported, 0);
    assert_int_equal(harvest_pending_pages(&set), 9); /* for resend */
    assert_true(bitmap_test(r->dirty, 104));

    /* What was found before the gate and not sent is not forgotten either. */
    assert_int_equal(harvest_gate(&set, &f, &e), 0);
    assert_true(f.pages >= 9);

    /* More ranges than are listed. */
    bitmap_clear_all(r->dirty);
    bitmap_clear_all(other->dirty);
    a.nranges = b.nranges = 0;
    for (uint64_t i = 0; i < 40; i++)
        region_mark(r, i * 3, 1);
    assert_int_equal(harvest_gate(&set, &f, &e), 0);
    assert_int_equal(f.ranges, 40);
    assert_int_equal(f.pages, 40);
    assert_int_equal(f.range[15].first_page, 45);

    /* A tracker that knows nothing is not asked. */
    struct tracker *all = NULL;
    assert_int_equal(tracker_new_all(&all, "vhost", "vhost-user", regions, 2, &e), 0);
    trackers[2] = all;
    set.ntrackers = 3;
    bitmap_clear_all(r->dirty);
    assert_int_equal(harvest_gate(&set, &f, &e), 0);
    assert_true(f.needs_digests);
    assert_int_equal(f.pages, 0);
    struct harvest_result got;
    assert_int_equal(harvest_start(&set, &e), 0);
    assert_int_equal(harvest_run(&set, &got, &e), 0);
    assert_int_equal(got.pages_new, 1050);
    assert_int_equal(harvest_run(&set, &got, &e), 0);
    assert_int_equal(got.pages_reported, 1050);
    assert_int_equal(all->counters.pages_first, 1050);
    tracker_free(all);
    assert_int_equal(r->refs, 1);
    region_unref(r);
    region_unref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu_log),
        cmocka_unit_test(test_cpu_log_refused),
        cmocka_unit_test(test_harvest),
        cmocka_unit_test(test_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

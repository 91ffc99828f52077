/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The device tracker on a fake device: page sizes, odd mappings, lies, broken logs, death. */
#include "dirty/harvest.h"
#include "fake-device.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { PAGES = 256 };

struct rig {
    struct fake_device *device;
    struct region *region;
    struct tracker *tracker;
    struct harvest_set set;
    struct mig_error e;
};

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    assert_int_equal(fake_device_new(&g->device, "nic0", 0), 0);
    assert_int_equal(region_new_made(&g->region, "ram", PAGES * 4096, 0, -1, &g->e), 0);
    assert_int_equal(tracker_new_device(&g->tracker, "nic0", &g->device->base, 4096, &g->e), 0);
    g->set = (struct harvest_set){&g->tracker, 1, &g->region, 1};
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    g->tracker = tracker_free(g->tracker);
    assert_int_equal(g->device->base.refs, 1);
    device_unref(&g->device->base);
    assert_int_equal(g->region->refs, 1);
    region_unref(g->region);
    free(g);
    return 0;
}

static void map(struct rig *g, uint64_t iova_page, uint64_t pages, uint64_t region_page, uint32_t prot)
{
    struct iova_mapping m = {FAKE_IOVA_BASE + iova_page * 4096, pages * 4096, g->region, region_page * 4096,
                             prot};
    if (g->device->base.ops->dma_map(&g->device->base, &m, &g->e) < 0)
        fail_msg("%s", g->e.message);
}

static void wrote(struct rig *g, uint64_t iova_page, uint64_t pages)
{
    fake_device_wrote(g->device, FAKE_IOVA_BASE + iova_page * 4096, pages * 4096);
}

/* Harvests into an empty bitmap. */
static uint64_t harvest(struct rig *g)
{
    struct harvest_result got;
    bitmap_clear_all(g->region->dirty);
    if (harvest_run(&g->set, &got, &g->e) < 0)
        fail_msg("%s", g->e.message);
    return got.pages_new;
}

static void assert_dirty(struct rig *g, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        assert_true(bitmap_test(g->region->dirty, i));
}

static void test_pages(void **state)
{
    struct rig *g = *state;
    map(g, 0, 70, 3, IOVA_READ | IOVA_WRITE);
    map(g, 100, 10, 68, IOVA_WRITE); /* 5 pages lie in both */
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_int_equal(g->device->starts, 1);
    assert_int_equal(harvest(g), 0);
    wrote(g, 0, 1);
    wrote(g, 69, 1);
    wrote(g, 104, 2);
    assert_int_equal(harvest(g), 3); /* 69 and 104 lead to the same page */
    assert_dirty(g, 3, 1);
    assert_dirty(g, 72, 2);
    assert_int_equal(harvest(g), 0);
    /* The gate reads the same log; it clears, and the bitmap keeps. */
    struct gate_finding f;
    wrote(g, 7, 3);
    assert_int_equal(harvest_gate(&g->set, &f, &g->e), 0);
    assert_int_equal(f.pages, 3);
    assert_ptr_equal(f.range[0].tracker, g->tracker);
    assert_int_equal(f.range[0].first_page, 10);
    assert_int_equal(harvest_pending_pages(&g->set), 3);
    /* The last bits of an unmap arrive as marks. */
    wrote(g, 100, 1);
    assert_int_equal(
        g->device->base.ops->dma_unmap(&g->device->base, FAKE_IOVA_BASE + 100 * 4096, 10 * 4096, &g->e), 0);
    assert_int_equal(harvest(g), 1);
    assert_dirty(g, 68, 1);
    harvest_stop(&g->set);
    harvest_stop(&g->set);
    assert_int_equal(g->device->stops, 1);
    assert_false(g->device->logging);
}

static void test_large_pages(void **state)
{
    struct rig *g = *state;
    g->device->log_page_bytes = 65536; /* the wish was 4096 */
    map(g, 5, 35, 100,
        IOVA_WRITE); /* 2 whole bits and 3 pages, from an IOVA that is not a multiple of 64 KiB */
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_int_equal(g->tracker->granularity_bytes, 65536);
    wrote(g, 5, 1);
    assert_int_equal(harvest(g), 16);
    assert_dirty(g, 100, 16);
    wrote(g, 39, 1);
    assert_int_equal(harvest(g), 3);
    assert_dirty(g, 132, 3);
    wrote(g, 5, 35);
    assert_int_equal(harvest(g), 35);
}

static void test_lies(void **state)
{
    struct rig *g = *state;
    map(g, 0, 10, PAGES - 10, IOVA_WRITE);
    g->device->lying_lengths = true;
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_int_equal(harvest(g), 0);
    wrote(g, 9, 1);
    assert_int_equal(harvest(g), 1);
    harvest_stop(&g->set);
    static const uint64_t odd[] = {2048, 12288, 0, UINT64_C(1) << 60};
    for (size_t i = 0; i < ELEMENTS(odd); i++) {
        g->device->log_page_bytes = odd[i];
        if (!odd[i])
            continue;
        mig_error_clear(&g->e);
        assert_int_equal(harvest_start(&g->set, &g->e), -EPROTO);
        assert_non_null(strstr(g->e.message, "nic0"));
        assert_false(g->device->logging); /* it was turned off again */
    }
}

static void test_broken_log(void **state)
{
    struct rig *g = *state;
    map(g, 0, 10, 0, IOVA_READ | IOVA_WRITE);
    map(g, 20, 10, 50, IOVA_READ);
    map(g, 40, 10, 100, IOVA_WRITE);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    g->device->report_rc = -EIO;
    assert_int_equal(harvest(g), 20); /* all that it may write */
    assert_dirty(g, 0, 10);
    assert_dirty(g, 100, 10);
    g->device->report_rc = 0;
    assert_int_equal(harvest(g), 0);
    fake_device_die(g->device);
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_run(&g->set, NULL, &g->e), -ENODEV);
    assert_non_null(strstr(g->e.message, "nic0"));
    assert_int_equal(harvest_pending_pages(&g->set), 20);
    harvest_stop(&g->set);
}

static void test_refused(void **state)
{
    struct rig *g = *state;
    struct tracker *t = NULL;
    assert_int_equal(tracker_new_device(&t, "nic0", &g->device->base, 1024, &g->e), -EINVAL);
    assert_int_equal(tracker_new_device(&t, "nic0", &g->device->base, 0, &g->e), -EINVAL);
    assert_null(t);
    g->device->info.dirty_log = false;
    assert_int_equal(harvest_start(&g->set, &g->e), -EOPNOTSUPP);
    assert_non_null(strstr(g->e.hint, "all"));
    g->device->info.dirty_log = true;
    g->device->start_rc = -EBUSY;
    assert_int_equal(harvest_start(&g->set, &g->e), -EBUSY);
    assert_int_equal(g->device->stops, 0);
    mig_error_clear(&g->e);
    g->device->start_rc = -ETIMEDOUT; /* not refused: it may still go on */
    assert_int_equal(harvest_start(&g->set, &g->e), -ETIMEDOUT);
    assert_int_equal(g->device->stops, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_pages), T(test_large_pages), T(test_lies), T(test_broken_log), T(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

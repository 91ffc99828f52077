/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trackers that go by digests of what was sent: "digests" of all pages, and "soft-dirty" of those that have
 * bits, with all pages in the last harvest. What matters is what was sent, not what was there before.
 */
#include "dirty/harvest.h"
#include "memory/pages.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 3000u /* more than a batch, and not a multiple of one */

struct stage {
    struct region *region;
    struct tracker *tracker;
    struct harvest_set set;
    uint64_t *sent;
};

static void make_stage(struct stage *s)
{
    memset(s, 0, sizeof *s);
    assert_int_equal(region_new_made(&s->region, "ram", (uint64_t)PAGES * REGION_PAGE_SIZE, 0, -1, NULL), 0);
    s->sent = calloc(PAGES, sizeof *s->sent);
    assert_non_null(s->sent);
    s->set =
        (struct harvest_set){.trackers = &s->tracker, .ntrackers = 1, .regions = &s->region, .nregions = 1};
}

static void end_stage(struct stage *s)
{
    s->region->sent_digests = NULL;
    harvest_stop(&s->set);
    tracker_free(s->tracker);
    region_unref(s->region);
    free(s->sent);
}

/* All of it goes out as it is. */
static void send_all(struct stage *s)
{
    pages_digest(s->region, 0, PAGES, s->sent);
    s->region->sent_digests = s->sent;
    bitmap_clear_all(s->region->dirty);
}

static void write_page(struct stage *s, uint64_t page, int value)
{
    memset(s->region->map + page * REGION_PAGE_SIZE + 100, value, 8);
}

static uint64_t found(struct stage *s, bool last)
{
    struct harvest_result r;
    bitmap_clear_all(s->region->dirty);
    assert_int_equal(last ? harvest_run_last(&s->set, &r, NULL) : harvest_run(&s->set, &r, NULL), 0);
    return bitmap_count(s->region->dirty);
}

static void test_digests(void **state)
{
    struct stage s;
    make_stage(&s);
    assert_int_equal(tracker_new_digests(&s.tracker, "cpu", s.region, NULL), 0);
    assert_int_equal(harvest_start(&s.set, NULL), 0);
    assert_int_equal(found(&s, false), PAGES); /* nothing to compare with: everything */
    send_all(&s);
    assert_int_equal(found(&s, false), 0);
    const uint64_t pages[] = {0, 1, 1023, 1024, PAGES - 1};
    for (size_t i = 0; i < ELEMENTS(pages); i++)
        write_page(&s, pages[i], 7);
    for (unsigned last = 0; last < 2; last++) { /* and again: they were not sent yet */
        assert_int_equal(found(&s, last), ELEMENTS(pages));
        for (size_t i = 0; i < ELEMENTS(pages); i++)
            assert_true(bitmap_test(s.region->dirty, pages[i]));
    }
    /* A, B and A again is no change when A was sent, and one when B was. */
    send_all(&s);
    write_page(&s, 5, 1);
    write_page(&s, 5, 0);
    assert_int_equal(found(&s, false), 0);
    write_page(&s, 5, 1);
    send_all(&s);
    write_page(&s, 5, 0);
    assert_int_equal(found(&s, false), 1);
    assert_true(bitmap_test(s.region->dirty, 5));
    /* The gate asks the same and names the tracker. */
    struct gate_finding f;
    bitmap_clear_all(s.region->dirty);
    assert_int_equal(harvest_gate(&s.set, &f, NULL), 0);
    assert_int_equal(f.pages, 1);
    assert_false(f.needs_digests);
    assert_ptr_equal(f.range[0].tracker, s.tracker);
    end_stage(&s);
}

static void test_soft_dirty(void **state)
{
    struct stage s;
    struct mig_error e = MIG_ERROR_INIT;
    make_stage(&s);
    /* The workload's mapping, beside that of migd. */
    uint8_t *vmm = mmap(NULL, s.region->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s.region->fd, 0);
    assert_true(vmm != MAP_FAILED);
    int r = tracker_new_soft_dirty(&s.tracker, "cpu", s.region, getpid(), (uintptr_t)vmm, &e);
    if (r == -EOPNOTSUPP) {
        print_message("# not tried: %s\n", e.message);
        munmap(vmm, s.region->size_bytes);
        s.set.ntrackers = 0;
        end_stage(&s);
        return;
    }
    assert_int_equal(r, 0);
    vmm[7 * REGION_PAGE_SIZE] = 1;
    assert_int_equal(harvest_start(&s.set, NULL), 0);
    send_all(&s);
    assert_int_equal(found(&s, false), 0);
    vmm[9 * REGION_PAGE_SIZE] = 1;
    vmm[2999 * REGION_PAGE_SIZE] = 1;
    assert_int_equal(found(&s, false), 2);
    assert_true(bitmap_test(s.region->dirty, 9) && bitmap_test(s.region->dirty, 2999));
    send_all(&s);
    assert_int_equal(found(&s, false), 0); /* its bit is set still, and it is what was sent */
    vmm[9 * REGION_PAGE_SIZE] = 2;
    assert_int_equal(found(&s, false), 1); /* a second time */
    send_all(&s);
    /* Without a bit: through another mapping, as a device would; and where the kernel forgets the bit. */
    write_page(&s, 11, 1);
    vmm[12 * REGION_PAGE_SIZE] = 1;
    madvise(vmm + 12 * REGION_PAGE_SIZE, REGION_PAGE_SIZE, MADV_DONTNEED);
    assert_int_equal(found(&s, false), 0);
    assert_int_equal(found(&s, true), 2);
    assert_true(bitmap_test(s.region->dirty, 11) && bitmap_test(s.region->dirty, 12));
    munmap(vmm, s.region->size_bytes);
    end_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_soft_dirty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

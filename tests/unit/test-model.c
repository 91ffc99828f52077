/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules R2, R3 and R6 against a model that knows the true version of every page.
 *
 * Two devices with logs of different page sizes, whose address spaces come and go over the same two regions,
 * and a VMM with a log of its CPU writes. Each write gives a page a new version. Rounds are cut into their
 * smallest steps, so that writes fall between: harvest; take a run of dirty pages (clear its bits); read the
 * run; send it on one of two connections, whose far end puts it in place later, in order. At any moment the
 * connections may break: what is under way is lost, the far end says how many frames of each it has, and the
 * rest of what flight.h remembers is dirty again. In the end the writers stop, one more harvest and send
 * follow, and the copy must hold the newest version of every page.
 *
 * Each rule can be broken on purpose, and then a version must get lost: otherwise this test could not fail.
 */
#include "dirty/harvest.h"
#include "fake-device.h"
#include "outgoing/flight.h"
#include "test-random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

enum { REGIONS = 2, PAGES = 192, DEVICES = 2, MAPPINGS_MAX = 12, IN_FLIGHT = 4, CONNECTIONS = 2, WIRE = 16 };

enum broken {
    NOTHING,
    CLEAR_AFTER_READ,     /* R2 */
    HARVEST_ONE_TRACKER,  /* R3 */
    UNMAP_WITHOUT_BITMAP, /* R6 */
    FORGET_IN_FLIGHT,     /* at a break */
    LATE_FRAMES,          /* those of the old connections still arrive */
};

enum writer { NOBODY, DMA, DMA_MESSAGE, CPU };
static const char *const writer_names[] = {"nobody", "DMA", "DMA by message", "CPU"};

struct world {
    enum broken broken;
    struct rnd rnd;
    uint64_t seed, steps;
    struct fake_device *device[DEVICES];
    struct iova_mapping mapping[DEVICES][MAPPINGS_MAX];
    unsigned mappings[DEVICES];
    struct region *region[REGIONS];
    int log_fd[REGIONS];
    uint64_t *log[REGIONS];
    struct tracker *tracker[DEVICES + REGIONS];
    struct harvest_set set;
    uint64_t version[REGIONS][PAGES]; /* true */
    uint64_t copy[REGIONS][PAGES];    /* what was sent */
    struct {
        enum writer writer;
        uint64_t step;
    } last[REGIONS][PAGES];
    struct {
        unsigned region;
        uint64_t first, count; /* count 0: free */
    } flight[IN_FLIGHT];
    struct connection {
        struct flight *noted;
        uint64_t sent, applied; /* frames */
        struct frame {
            unsigned region;
            uint64_t first, count, version[20];
        } wire[WIRE]; /* frame n at n % WIRE */
    } connection[CONNECTIONS];
    struct frame late[32]; /* of connections that are gone; they arrive in the end */
    unsigned nlate;
    unsigned breaks;
};

static uint64_t *content(struct world *w, unsigned region, uint64_t page)
{
    return (uint64_t *)(w->region[region]->map + page * 4096);
}

static void bump(struct world *w, unsigned region, uint64_t page, enum writer writer)
{
    *content(w, region, page) = ++w->version[region][page];
    w->last[region][page].writer = writer;
    w->last[region][page].step = w->steps;
}

static unsigned index_of(const struct world *w, const struct region *r)
{
    return r == w->region[1];
}

/* A write of 1 to 3 pages through a random mapping. */
static void step_dma(struct world *w, bool by_message)
{
    unsigned d = (unsigned)rnd_below(&w->rnd, DEVICES);
    if (w->mappings[d] == 0)
        return;
    const struct iova_mapping *m = &w->mapping[d][rnd_below(&w->rnd, w->mappings[d])];
    uint64_t pages = m->size_bytes / 4096, first = rnd_below(&w->rnd, pages);
    uint64_t count = MIN(1 + rnd_below(&w->rnd, 3), pages - first), iova = m->iova + first * 4096;
    for (uint64_t i = 0; i < count; i++)
        bump(w, index_of(w, m->region), m->offset_bytes / 4096 + first + i, by_message ? DMA_MESSAGE : DMA);
    if (by_message)
        iova_map_mark(w->device[d]->base.map, iova + 100, count * 4096 - 200);
    else
        fake_device_wrote(w->device[d], iova, count * 4096);
}

static void step_cpu(struct world *w)
{
    unsigned r = (unsigned)rnd_below(&w->rnd, REGIONS);
    uint64_t page = rnd_below(&w->rnd, PAGES);
    bump(w, r, page, CPU);
    __atomic_fetch_or(&w->log[r][page / 64], UINT64_C(1) << (page % 64), __ATOMIC_ACQ_REL);
}

static void step_map(struct world *w)
{
    unsigned d = (unsigned)rnd_below(&w->rnd, DEVICES), r = (unsigned)rnd_below(&w->rnd, REGIONS);
    if (w->mappings[d] == MAPPINGS_MAX)
        return;
    uint64_t pages = 1 + rnd_below(&w->rnd, 60), page = rnd_below(&w->rnd, PAGES - pages);
    uint64_t iova = FAKE_IOVA_BASE + rnd_below(&w->rnd, FAKE_IOVA_PAGES - pages) * 4096;
    struct iova_mapping m = {iova, pages * 4096, w->region[r], page * 4096, IOVA_READ | IOVA_WRITE};
    struct device *device = &w->device[d]->base;
    if (device->ops->dma_map(device, &m, NULL) == 0)
        w->mapping[d][w->mappings[d]++] = m;
}

static void step_unmap(struct world *w)
{
    unsigned d = (unsigned)rnd_below(&w->rnd, DEVICES);
    if (w->mappings[d] == 0)
        return;
    struct iova_mapping *m = &w->mapping[d][rnd_below(&w->rnd, w->mappings[d])];
    struct device *device = &w->device[d]->base;
    assert_int_equal(device->ops->dma_unmap(device, m->iova, m->size_bytes, NULL), 0);
    *m = w->mapping[d][--w->mappings[d]];
}

static void read_pages(struct world *w, unsigned region, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++)
        w->copy[region][i] = *content(w, region, i);
}

static void apply_frame(struct world *w, const struct frame *f)
{
    for (uint64_t i = 0; i < f->count; i++)
        w->copy[f->region][f->first + i] = f->version[i];
}

static void step_apply(struct world *w, struct connection *c)
{
    if (c->applied < c->sent)
        apply_frame(w, &c->wire[c->applied++ % WIRE]);
}

static void step_harvest(struct world *w)
{
    struct harvest_set set = w->set;
    for (unsigned k = 0; k < CONNECTIONS; k++) /* the fence: pages of a round never overtake those before */
        while (w->connection[k].applied < w->connection[k].sent)
            step_apply(w, &w->connection[k]);
    if (w->broken == HARVEST_ONE_TRACKER)
        set.ntrackers = 1;
    assert_int_equal(harvest_run(&set, NULL, NULL), 0);
}

/* Pages are read when they are sent; a word of the far end, which may be old, makes room. */
static void send_pages(struct world *w, unsigned region, uint64_t first, uint64_t count)
{
    struct connection *c = &w->connection[rnd_below(&w->rnd, CONNECTIONS)];
    while (c->sent - c->applied >= WIRE)
        step_apply(w, c);
    flight_applied(c->noted, c->applied - rnd_below(&w->rnd, MIN(c->applied, UINT64_C(3)) + 1));
    struct wire_extent e = {first * 4096, count * 4096};
    assert_int_equal(flight_add(c->noted, c->sent, region, &e, 1), 0);
    struct frame *f = &c->wire[c->sent++ % WIRE];
    *f = (struct frame){.region = region, .first = first, .count = count};
    for (uint64_t i = 0; i < count; i++)
        f->version[i] = *content(w, region, first + i);
}

static void step_break(struct world *w)
{
    w->breaks++;
    for (unsigned k = 0; k < CONNECTIONS; k++) {
        struct connection *c = &w->connection[k];
        for (uint64_t n = c->applied; w->broken == LATE_FRAMES && n < c->sent; n++)
            w->late[w->nlate++ % 32] = c->wire[n % WIRE];
        flight_applied(c->noted, c->applied);
        if (w->broken == FORGET_IN_FLIGHT)
            flight_clear(c->noted);
        uint64_t pages = flight_put_back(c->noted, w->region), lost = 0;
        for (uint64_t n = c->applied; n < c->sent; n++)
            lost += c->wire[n % WIRE].count;
        if (w->broken != FORGET_IN_FLIGHT)
            assert_int_equal(pages, lost); /* no page more, and none less */
        c->sent = c->applied = 0;
    }
}

static void step_take(struct world *w)
{
    for (unsigned f = 0; f < IN_FLIGHT; f++) {
        if (w->flight[f].count)
            continue;
        unsigned r = (unsigned)rnd_below(&w->rnd, REGIONS);
        struct region *region = w->region[r];
        uint64_t first, count;
        if (!bitmap_next_run(region->dirty, rnd_below(&w->rnd, PAGES), PAGES, 1 + rnd_below(&w->rnd, 20),
                             &first, &count))
            return;
        w->flight[f].region = r;
        w->flight[f].first = first;
        w->flight[f].count = count;
        if (w->broken == CLEAR_AFTER_READ)
            send_pages(w, r, first, count);
        else
            bitmap_clear_range(region->dirty, first, count);
        return;
    }
}

static void finish(struct world *w, unsigned f)
{
    if (w->flight[f].count == 0)
        return;
    if (w->broken == CLEAR_AFTER_READ)
        bitmap_clear_range(w->region[w->flight[f].region]->dirty, w->flight[f].first, w->flight[f].count);
    else
        send_pages(w, w->flight[f].region, w->flight[f].first, w->flight[f].count);
    w->flight[f].count = 0;
}

static void step(struct world *w)
{
    uint64_t what = rnd_below(&w->rnd, 100);
    w->steps++;
    if (what < 25)
        step_dma(w, false);
    else if (what < 30)
        step_dma(w, true);
    else if (what < 45)
        step_cpu(w);
    else if (what < 49)
        step_map(w);
    else if (what < 53)
        step_unmap(w);
    else if (what < 56)
        step_harvest(w);
    else if (what < 72)
        step_take(w);
    else if (what < 86)
        step_apply(w, &w->connection[rnd_below(&w->rnd, CONNECTIONS)]);
    else if (rnd_below(&w->rnd, 100) == 0)
        step_break(w);
    else
        finish(w, (unsigned)rnd_below(&w->rnd, IN_FLIGHT));
}

static struct world *new_world(uint64_t seed, enum broken broken)
{
    struct world *w = calloc(1, sizeof *w);
    struct mig_error e = MIG_ERROR_INIT;
    w->seed = w->rnd.state = seed;
    w->broken = broken;
    size_t log_bytes = div_round_up(PAGES, 64) * 8, n = 0;
    for (unsigned d = 0; d < DEVICES; d++) {
        char name[] = {'d', 'e', 'v', (char)('0' + d), 0};
        assert_int_equal(fake_device_new(&w->device[d], name, d ? 16384 : 4096), 0);
        w->device[d]->forgets_last_bits = broken == UNMAP_WITHOUT_BITMAP;
        assert_int_equal(tracker_new_device(&w->tracker[n++], name, &w->device[d]->base, 4096, &e), 0);
    }
    for (unsigned r = 0; r < REGIONS; r++) {
        char name[] = {'r', 'a', 'm', (char)('0' + r), 0};
        assert_int_equal(region_new_made(&w->region[r], name, PAGES * 4096, 0, -1, &e), 0);
        w->log_fd[r] = memfd_create("log", MFD_CLOEXEC);
        assert_int_equal(ftruncate(w->log_fd[r], (off_t)log_bytes), 0);
        w->log[r] = mmap(NULL, log_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->log_fd[r], 0);
        assert_ptr_not_equal(w->log[r], MAP_FAILED);
        assert_int_equal(tracker_new_cpu_log(&w->tracker[n++], name, w->region[r], w->log_fd[r], 0, 4096, &e),
                         0);
    }
    for (unsigned k = 0; k < CONNECTIONS; k++)
        assert_int_equal(flight_new(&w->connection[k].noted), 0);
    w->set = (struct harvest_set){w->tracker, n, w->region, REGIONS};
    assert_int_equal(harvest_start(&w->set, &e), 0);
    return w;
}

static void free_world(struct world *w)
{
    harvest_stop(&w->set);
    for (size_t i = 0; i < w->set.ntrackers; i++)
        tracker_free(w->tracker[i]);
    for (unsigned k = 0; k < CONNECTIONS; k++)
        flight_free(w->connection[k].noted);
    for (unsigned d = 0; d < DEVICES; d++)
        device_unref(&w->device[d]->base);
    for (unsigned r = 0; r < REGIONS; r++) {
        munmap(w->log[r], div_round_up(PAGES, 64) * 8);
        close(w->log_fd[r]);
        assert_int_equal(w->region[r]->refs, 1);
        region_unref(w->region[r]);
    }
    free(w);
}

/* The blackout: nobody writes any more. Returns how many pages did not arrive. */
static uint64_t final_pass(struct world *w, bool tell)
{
    uint64_t lost = 0;
    for (unsigned f = 0; f < IN_FLIGHT; f++)
        finish(w, f);
    for (unsigned k = 0; k < CONNECTIONS; k++)
        while (w->connection[k].applied < w->connection[k].sent)
            step_apply(w, &w->connection[k]);
    step_harvest(w);
    for (unsigned r = 0; r < REGIONS; r++) {
        bitmap_for_each_run (w->region[r]->dirty, first, count)
            read_pages(w, r, first, count);
        bitmap_clear_all(w->region[r]->dirty);
    }
    for (unsigned i = 0; i < 32; i++)
        apply_frame(w, &w->late[i]);
    for (unsigned r = 0; r < REGIONS; r++)
        for (uint64_t i = 0; i < PAGES; i++) {
            if (w->copy[r][i] == w->version[r][i])
                continue;
            if (tell && lost < 5)
                print_error("seed %#llx: page %llu of region %u has version %llu, the copy %llu; last "
                            "written by %s in "
                            "step %llu of %llu\n",
                            (unsigned long long)w->seed, (unsigned long long)i, r,
                            (unsigned long long)w->version[r][i], (unsigned long long)w->copy[r][i],
                            writer_names[w->last[r][i].writer], (unsigned long long)w->last[r][i].step,
                            (unsigned long long)w->steps);
            lost++;
        }
    return lost;
}

static uint64_t play(uint64_t seed, uint64_t steps, enum broken broken, bool tell)
{
    struct world *w = new_world(seed, broken);
    for (uint64_t i = 0; i < steps; i++) {
        step(w);
        if (i + 160 > steps && i % 40 == 0) /* near the end not everything is written once more */
            step_break(w);
    }
    uint64_t lost = final_pass(w, tell), writes = 0;
    for (unsigned r = 0; r < REGIONS; r++)
        for (uint64_t i = 0; i < PAGES; i++)
            writes += w->version[r][i];
    assert_true(writes > steps / 8);
    assert_true(w->breaks > steps / 5000);
    if (broken == NOTHING && !lost) { /* and the gate has nothing to say */
        struct gate_finding f;
        assert_int_equal(harvest_gate(&w->set, &f, NULL), 0);
        assert_int_equal(f.pages, 0);
    }
    free_world(w);
    return lost;
}

/* SEED in the environment plays one game again. */
static void test_nothing_lost(void **state)
{
    const char *again = getenv("SEED");
    if (again) {
        assert_int_equal(play(strtoull(again, NULL, 0), 50000, NOTHING, true), 0);
        return;
    }
    for (uint64_t seed = 1; seed <= 60; seed++)
        assert_int_equal(play(seed, 50000, NOTHING, true), 0);
}

static void assert_found(enum broken broken)
{
    unsigned found = 0;
    for (uint64_t seed = 1; seed <= 10; seed++)
        found += play(seed, 5000, broken, false) > 0;
    assert_true(found >= 8);
}

static void test_clear_after_read(void **state)
{
    assert_found(CLEAR_AFTER_READ);
}

static void test_one_tracker(void **state)
{
    assert_found(HARVEST_ONE_TRACKER);
}

static void test_unmap_without_bitmap(void **state)
{
    assert_found(UNMAP_WITHOUT_BITMAP);
}

static void test_forget_in_flight(void **state)
{
    assert_found(FORGET_IN_FLIGHT);
}

static void test_late_frames(void **state)
{
    assert_found(LATE_FRAMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_lost),     cmocka_unit_test(test_clear_after_read),
        cmocka_unit_test(test_one_tracker),      cmocka_unit_test(test_unmap_without_bitmap),
        cmocka_unit_test(test_forget_in_flight), cmocka_unit_test(test_late_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

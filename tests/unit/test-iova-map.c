/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The IOVA map against a model with one entry per IOVA page: several IOVAs per region, maps and unmaps, marks
 * of any page size. */
#include "memory/iova-map.h"
#include "test-random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { REGIONS = 3, REGION_PAGES = 64, SPACE_PAGES = 400 };
#define BASE UINT64_C(0xfedc00000000)

struct world {
    struct iova_map *map;
    struct region *region[REGIONS];
    /* per IOVA page: which mapping it belongs to (0 none), and where it leads */
    struct {
        int id, region;
        uint64_t page;
    } at[SPACE_PAGES];
    uint8_t marked[REGIONS][REGION_PAGES];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_int_equal(iova_map_new(&w->map), 0);
    for (int i = 0; i < REGIONS; i++) {
        char name[] = {'r', (char)('0' + i), 0};
        assert_int_equal(region_new_made(&w->region[i], name, REGION_PAGES * 4096, 0, -1, NULL), 0);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    iova_map_free(w->map);
    for (int i = 0; i < REGIONS; i++) {
        assert_int_equal(w->region[i]->refs, 1); /* every reference was given back */
        region_unref(w->region[i]);
    }
    free(w);
    return 0;
}

static void model_mark(struct world *w, uint64_t from_byte, uint64_t to_byte)
{
    for (uint64_t p = from_byte / 4096; p < SPACE_PAGES && p * 4096 < to_byte; p++)
        if (w->at[p].id)
            w->marked[w->at[p].region][w->at[p].page] = 1;
}

static void assert_marks(struct world *w)
{
    for (int r = 0; r < REGIONS; r++) {
        region_take_marks(w->region[r]);
        for (uint64_t p = 0; p < REGION_PAGES; p++)
            if (bitmap_test(w->region[r]->dirty, p) != w->marked[r][p])
                fail_msg("page %lu of region %d should%s be marked", (unsigned long)p, r,
                         w->marked[r][p] ? "" : " not");
        bitmap_clear_all(w->region[r]->dirty);
    }
    memset(w->marked, 0, sizeof w->marked);
}

static void step_map(struct world *w, struct rnd *rnd, int id)
{
    uint64_t first = rnd_below(rnd, SPACE_PAGES), count = 1 + rnd_below(rnd, 20);
    int r = (int)rnd_below(rnd, REGIONS);
    uint64_t page = rnd_below(rnd, REGION_PAGES);
    struct iova_mapping m = {BASE + first * 4096, count * 4096, w->region[r], page * 4096,
                             IOVA_READ | IOVA_WRITE};
    bool taken = false, inside = page + count <= REGION_PAGES && first + count <= SPACE_PAGES;
    for (uint64_t i = first; i < first + count && i < SPACE_PAGES; i++)
        taken |= w->at[i].id != 0;
    if (first + count > SPACE_PAGES) /* outside of the model */
        return;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(iova_map_add(w->map, &m, &e), !inside ? -EINVAL : taken ? -EEXIST : 0);
    for (uint64_t i = 0; inside && !taken && i < count; i++) {
        w->at[first + i].id = id;
        w->at[first + i].region = r;
        w->at[first + i].page = page + i;
    }
}

static void step_unmap(struct world *w, struct rnd *rnd)
{
    uint64_t p = rnd_below(rnd, SPACE_PAGES), first = p, end = p;
    int id = w->at[p].id;
    while (id && first > 0 && w->at[first - 1].id == id)
        first--;
    while (id && end < SPACE_PAGES && w->at[end].id == id)
        end++;
    uint64_t iova = BASE + first * 4096, size = (end - first) * 4096;
    if (!id) {
        assert_int_equal(iova_map_remove(w->map, iova, 4096, NULL), -ENOENT);
        return;
    }
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(iova_map_remove(w->map, iova, size + 4096, &e), -ENOENT);
    if (size > 4096) {
        assert_int_equal(iova_map_remove(w->map, iova + 4096, size - 4096, &e), -ENOENT);
        assert_int_equal(iova_map_remove(w->map, iova, 4096, &e), -ENOENT);
    }
    assert_int_equal(iova_map_remove(w->map, iova, size, &e), 0);
    memset(&w->at[first], 0, (end - first) * sizeof w->at[0]);
}

static void step_lookup(struct world *w, struct rnd *rnd)
{
    uint64_t p = rnd_below(rnd, SPACE_PAGES);
    struct iova_mapping m;
    int rc = iova_map_lookup(w->map, BASE + p * 4096 + rnd_below(rnd, 4096), &m);
    assert_int_equal(rc, w->at[p].id ? 0 : -ENOENT);
    if (rc < 0)
        return;
    assert_ptr_equal(m.region, w->region[w->at[p].region]);
    assert_int_equal(m.offset_bytes + BASE + p * 4096 - m.iova, w->at[p].page * 4096);
    region_unref(m.region);
}

static void step_bitmap(struct world *w, struct rnd *rnd)
{
    static const uint64_t sizes[] = {1024, 2048, 4096, 8192, 65536};
    uint64_t page_bytes = sizes[rnd_below(rnd, ELEMENTS(sizes))], words[6];
    for (size_t i = 0; i < ELEMENTS(words); i++)
        words[i] = rnd_next(rnd) & rnd_next(rnd) & rnd_next(rnd);
    uint64_t nbits = rnd_below(rnd, 6 * 64), start = rnd_below(rnd, SPACE_PAGES) * 4096, expect = 0;
    if (page_bytes < 4096)
        start += rnd_below(rnd, 4) * 1024;
    uint64_t done = 0;
    for (uint64_t i = 0; i < nbits; i++)
        if (words[i / 64] >> (i % 64) & 1) {
            uint64_t from = start + i * page_bytes, to = from + page_bytes;
            model_mark(w, from, to);
            for (uint64_t p = from / 4096; p < SPACE_PAGES && p * 4096 < to; p++)
                if (p >= done) {
                    expect += w->at[p].id != 0;
                    done = p + 1;
                }
        }
    assert_int_equal(iova_map_mark_bitmap(w->map, BASE + start, page_bytes, words, nbits), expect);
}

static void test_model(void **state)
{
    struct world *w = *state;
    struct rnd rnd = {7};
    for (int step = 1; step < 20000; step++) {
        switch (rnd_below(&rnd, 6)) {
        case 0:
        case 1:
            step_map(w, &rnd, step);
            break;
        case 2:
            step_unmap(w, &rnd);
            break;
        case 3:
            step_lookup(w, &rnd);
            break;
        case 4: {
            uint64_t from = rnd_below(&rnd, SPACE_PAGES * 4096), size = rnd_below(&rnd, 100000);
            iova_map_mark(w->map, BASE + from, size);
            if (size)
                model_mark(w, from, from + size);
            break;
        }
        case 5:
            step_bitmap(w, &rnd);
            break;
        }
        if (step % 10 == 0)
            assert_marks(w);
        if (step % 2000 == 0) {
            iova_map_clear(w->map);
            memset(w->at, 0, sizeof w->at);
        }
        if (step % 100 == 0) {
            struct iova_mapping *all = NULL;
            size_t n = 99;
            assert_int_equal(iova_map_snapshot(w->map, &all, &n), 0);
            for (size_t i = 0; i + 1 < n; i++)
                assert_true(all[i].iova + all[i].size_bytes <= all[i + 1].iova);
            assert_int_equal(iova_map_count(w->map), n);
            for (size_t k = 0; k < ELEMENTS(w->region); k++) {
                bool there = false;
                for (size_t i = 0; i < n; i++)
                    there |= all[i].region == w->region[k];
                assert_int_equal(iova_map_has(w->map, w->region[k]), there);
            }
            iova_mappings_free(all, n);
        }
    }
}

static void test_refused(void **state)
{
    struct world *w = *state;
    const struct iova_mapping good = {0x10000, 0x4000, w->region[0], 0, IOVA_READ};
    struct mig_error e = MIG_ERROR_INIT;
    struct iova_mapping m = good;
    m.iova += 1;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EINVAL);
    m = good, m.size_bytes = 0;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EINVAL);
    m = good, m.offset_bytes = 512;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EINVAL);
    m = good, m.iova = UINT64_MAX - 0x3fff;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EINVAL); /* would end at 2^64 */
    m = good, m.iova = UINT64_MAX - 0xfff;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EINVAL); /* would wrap */
    m = good, m.offset_bytes = UINT64_MAX - 0xfff;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EINVAL);
    m = good, m.prot = 0;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EINVAL);
    assert_int_equal(iova_map_add(w->map, &good, &e), 0);
    m = good, m.region = w->region[1], m.iova += 0x3000;
    assert_int_equal(iova_map_add(w->map, &m, &e), -EEXIST);
    assert_non_null(strstr(e.message, "r0"));
    assert_non_null(strstr(e.message, "r1"));
    iova_map_mark(w->map, 0x12000, UINT64_MAX); /* a range that wraps is cut */
    assert_int_equal(region_take_marks(w->region[0]), 2);
    uint64_t bits = UINT64_MAX;
    assert_int_equal(iova_map_mark_bitmap(w->map, UINT64_MAX - 0xffff, 4096, &bits, 64), 0);
    assert_int_equal(iova_map_mark_bitmap(w->map, 0, 0, &bits, 64), 0);
    assert_int_equal(iova_map_mark_bitmap(w->map, 0, UINT64_C(1) << 63, &bits, 64), 4);
    m = good, m.iova = UINT64_MAX - 0x4fff;
    assert_int_equal(iova_map_add(w->map, &m, &e), 0); /* the highest that there can be */
    bits = 1;
    assert_int_equal(iova_map_mark_bitmap(w->map, UINT64_MAX - 0xffff, 0x10000, &bits, 1),
                     4); /* up to 2^64 */
    /* A bit of 2 MiB over a region of 256 KiB that is mapped in the middle. */
    bits = 1;
    assert_int_equal(iova_map_mark_bitmap(w->map, 0, 2 << 20, &bits, 1), 4);
}

static void test_limit(void **state)
{
    struct world *w = *state;
    struct mig_error e = MIG_ERROR_INIT;
    /* From the top down, the direction that moves the whole table, for the last thousand. */
    for (uint64_t i = 0; i < IOVA_MAPPINGS_MAX; i++) {
        uint64_t slot = i < IOVA_MAPPINGS_MAX - 1000 ? i + 1000 : IOVA_MAPPINGS_MAX - 1 - i;
        struct iova_mapping m = {slot * 0x3000, 0x1000, w->region[i % REGIONS], (i % REGION_PAGES) * 4096,
                                 IOVA_WRITE};
        assert_int_equal(iova_map_add(w->map, &m, &e), 0);
    }
    struct iova_mapping one_more = {0x1000, 0x1000, w->region[0], 0, IOVA_WRITE};
    assert_int_equal(iova_map_add(w->map, &one_more, &e), -ENOSPC);
    assert_int_equal(e.code, MIG_ERR_LIMIT);
    struct iova_mapping *all = NULL;
    size_t n = 0;
    assert_int_equal(iova_map_snapshot(w->map, &all, &n), 0);
    assert_int_equal(n, IOVA_MAPPINGS_MAX);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(all[i].iova, i * 0x3000);
    iova_map_clear(w->map);
    assert_int_equal(w->region[0]->refs, 1 + IOVA_MAPPINGS_MAX / REGIONS);
    iova_mappings_free(all, n);
    assert_int_equal(iova_map_snapshot(w->map, &all, &n), 0);
    assert_int_equal(n, 0);
    iova_mappings_free(all, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

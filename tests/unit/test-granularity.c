/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one dirty bit stands for, found from reports (R8). */
#include "dirty/granularity.h"
#include "base/bitmap.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MIB  (UINT64_C(1) << 20)
#define GIB  (UINT64_C(1) << 30)
#define PAGE REGION_PAGE_SIZE

/* Only what is looked at. */
static struct region memory = {.file_page_bytes = PAGE};

static struct iova_mapping mapping(uint64_t iova, uint64_t size, uint64_t offset)
{
    return (struct iova_mapping){iova, size, &memory, offset, IOVA_READ | IOVA_WRITE};
}

/* Pages [first, first + count) of the mapping were written. */
static void note(struct granularity *g, struct iova_mapping m, uint64_t first, uint64_t count)
{
    struct bitmap *b;
    assert_int_equal(bitmap_new(&b, m.size_bytes / PAGE), 0);
    bitmap_set_range(b, first, count);
    granularity_note(g, &m, b->words, b->nbits);
    bitmap_free(b);
}

static uint64_t expected(uint64_t file_page, struct iova_mapping m)
{
    struct granularity g = {0};
    memory.file_page_bytes = file_page;
    granularity_expect(&g, &m);
    return granularity_bytes(&g);
}

static void test_expected(void **state)
{
    assert_int_equal(expected(PAGE, mapping(0, GIB, 0)), PAGE);
    assert_int_equal(expected(2 * MIB, mapping(0, 4 * MIB, 0)), 2 * MIB);
    assert_int_equal(expected(2 * MIB, mapping(0, 2 * MIB - PAGE, 0)), PAGE); /* none fits */
    assert_int_equal(expected(2 * MIB, mapping(PAGE, 4 * MIB, 0)), PAGE);     /* never lined up */
    assert_int_equal(expected(2 * MIB, mapping(PAGE, 4 * MIB, PAGE)),
                     2 * MIB); /* lined up, a piece in between */
    assert_int_equal(expected(2 * MIB, mapping(PAGE, 3 * MIB, PAGE)), PAGE); /* but too short for it */
    assert_int_equal(expected(GIB, mapping(0, GIB, 0)), GIB);
    assert_int_equal(expected(GIB, mapping(2 * MIB, GIB, 0)), 2 * MIB);
    /* The coarsest of several. */
    struct granularity g = {0};
    memory.file_page_bytes = 2 * MIB;
    granularity_expect(&g, &(struct iova_mapping){PAGE, 4 * MIB, &memory, 0, IOVA_WRITE});
    granularity_expect(&g, &(struct iova_mapping){32 * MIB, 4 * MIB, &memory, 0, IOVA_WRITE});
    assert_int_equal(granularity_bytes(&g), 2 * MIB);
}

static void test_refuted(void **state)
{
    struct iova_mapping m = mapping(GIB, GIB, 0);
    struct granularity g = {0};
    memory.file_page_bytes = GIB;
    granularity_expect(&g, &m);
    note(&g, m, 0, 0);
    assert_int_equal(granularity_bytes(&g), GIB);
    note(&g, m, 0, GIB / PAGE);
    assert_int_equal(granularity_bytes(&g), GIB);
    note(&g, m, 512, 1024); /* 4 MiB: no entry of 1 GiB */
    assert_int_equal(granularity_bytes(&g), 2 * MIB);
    note(&g, m, 600, 1);
    assert_int_equal(granularity_bytes(&g), PAGE);
    note(&g, m, 0, GIB / PAGE); /* once finer is finer for ever */
    assert_int_equal(granularity_bytes(&g), PAGE);
}

/* A block that the edge of a mapping cuts says nothing: all that is mapped of it was reported. */
static void test_edges(void **state)
{
    struct iova_mapping m = mapping(2 * MIB - PAGE, 6 * MIB, 2 * MIB - PAGE);
    struct granularity g = {0};
    memory.file_page_bytes = 2 * MIB;
    granularity_expect(&g, &m);
    note(&g, m, 0, 1);
    note(&g, m, 1 + 512 * 2, 511); /* to the end */
    note(&g, m, 0, 513);
    assert_int_equal(granularity_bytes(&g), 2 * MIB);
    note(&g, m, 0, 2);
    assert_int_equal(granularity_bytes(&g), PAGE);
}

/* Memory of which nobody knows on what pages it lies (transparent huge pages): what is never finer. */
static void test_observed(void **state)
{
    struct iova_mapping m = mapping(0, 64 * MIB, 0);
    struct granularity g = {0};
    memory.file_page_bytes = PAGE;
    granularity_expect(&g, &m);
    for (unsigned i = 0; i < 7; i++)
        note(&g, m, i * 1024, 512);
    assert_int_equal(granularity_bytes(&g), PAGE); /* that may be an accident */
    note(&g, m, 8192, 512);
    assert_int_equal(granularity_bytes(&g), 2 * MIB);
    note(&g, m, 3, 512);
    assert_int_equal(granularity_bytes(&g), PAGE);
}

/* Fine memory beside huge pages does not hide them. */
static void test_mixed(void **state)
{
    static struct region fine = {.file_page_bytes = PAGE};
    struct iova_mapping huge = mapping(0, 4 * MIB, 0), small = {GIB, 4 * MIB, &fine, 0, IOVA_WRITE};
    struct granularity g = {0};
    memory.file_page_bytes = 2 * MIB;
    granularity_expect(&g, &huge);
    granularity_expect(&g, &small);
    note(&g, small, 3, 1);
    note(&g, huge, 512, 512);
    assert_int_equal(granularity_bytes(&g), 2 * MIB);
    note(&g, huge, 3, 1);
    assert_int_equal(granularity_bytes(&g), PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expected), cmocka_unit_test(test_refuted), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_observed), cmocka_unit_test(test_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

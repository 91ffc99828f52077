/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is made present beside the transfer: how far ahead, where it ends, and that it changes nothing. */
#include "base/clock.h"
#include "incoming/populate-beside.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB         (UINT64_C(1) << 20)
#define CHUNK       (2 * MIB)
#define WAIT_USEC   (60 * USEC_PER_SEC)
#define REGION_SIZE (256 * MIB + 4096) /* the last chunk is a page */

struct stage {
    struct region *regions[2];
    struct populate_beside *beside;
};

static void open_stage(struct stage *s)
{
    for (int i = 0; i < 2; i++) {
        int fd = memfd_create("beside", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, (off_t)REGION_SIZE), 0);
        assert_int_equal(region_new_from_fd(&s->regions[i], i ? "b" : "a", fd, 0, 0, true, NULL), 0);
        close(fd);
    }
    assert_int_equal(populate_beside_new(&s->beside, s->regions, 2, 2), 0);
}

static void close_stage(struct stage *s)
{
    s->beside = populate_beside_free(s->beside);
    for (int i = 0; i < 2; i++)
        region_unref(s->regions[i]);
}

static uint64_t allocated(const struct region *r)
{
    struct stat st;
    assert_int_equal(fstat(r->fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void wait_for_bytes(struct stage *s, uint64_t bytes)
{
    uint64_t until = now_usec() + WAIT_USEC;
    while (populate_beside_bytes(s->beside) < bytes && now_usec() < until)
        usleep(1000);
    assert_int_equal(populate_beside_bytes(s->beside), bytes);
}

static void skip_without_populate(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool can = madvise(page, 4096, 23) == 0; /* MADV_POPULATE_WRITE */
    munmap(page, 4096);
    if (!can)
        exit(77);
}

static bool came(struct stage *s, size_t region, uint64_t offset_mib, uint64_t length_mib)
{
    return populate_beside_came(s->beside, region, offset_mib * MIB, length_mib * MIB);
}

/* A question about a page is no sign of what follows. */
static bool is_present(struct stage *s, size_t region, uint64_t at_mib)
{
    return populate_beside_came(s->beside, region, at_mib * MIB, 4096);
}

static void test_ahead(void **state)
{
    struct stage s;
    open_stage(&s);
    assert_false(came(&s, 0, 0, 2));
    wait_for_bytes(&s, CHUNK); /* as much as came */
    assert_true(came(&s, 0, 2, 2));
    wait_for_bytes(&s, 3 * CHUNK); /* 4 to 8 */
    assert_true(came(&s, 0, 4, 4));
    wait_for_bytes(&s, 7 * CHUNK); /* 8 to 16 */
    for (uint64_t at = 8; at < 128; at += 2)
        came(&s, 0, at, 2);
    /* However far behind they are by now. */
    uint64_t until = now_usec() + WAIT_USEC;
    while (!is_present(&s, 0, 190) && now_usec() < until)
        usleep(1000);
    assert_true(is_present(&s, 0, 190));
    assert_false(is_present(&s, 0, 192));
    close_stage(&s);
}

static void test_limit(void **state)
{
    struct stage s;
    open_stage(&s);
    came(&s, 1, 0, 2); /* of another region: one says nothing yet */
    came(&s, 1, 2, 126);
    wait_for_bytes(&s, 64 * MIB);
    assert_int_equal(allocated(s.regions[1]), 64 * MIB);
    assert_int_equal(allocated(s.regions[0]), 0);
    assert_true(came(&s, 1, 128, 64));
    wait_for_bytes(&s, 128 * MIB);
    assert_true(came(&s, 1, 192, 64));
    wait_for_bytes(&s, 128 * MIB + 4096);
    assert_int_equal(allocated(s.regions[1]), 128 * MIB + 4096);
    close_stage(&s);
}

/* Between pages of a sparse guest nothing is made present. */
static void test_sparse(void **state)
{
    struct stage s;
    open_stage(&s);
    for (uint64_t at = 0; at < 256; at += 8)
        came(&s, 0, at + 4, 2);
    usleep(50000);
    s.beside = populate_beside_free(s.beside);
    assert_int_equal(allocated(s.regions[0]), 0);
    close_stage(&s);
}

/* Scattered pages of later rounds say nothing. */
static void test_small(void **state)
{
    struct stage s;
    open_stage(&s);
    for (uint64_t at = 0; at < 64 * MIB; at += 4096)
        assert_false(populate_beside_came(s.beside, 0, at, 4096));
    s.beside = populate_beside_free(s.beside);
    assert_int_equal(allocated(s.regions[0]), 0);
    close_stage(&s);
}

static void test_content(void **state)
{
    struct stage s;
    open_stage(&s);
    memset(s.regions[0]->map, 0x5a, 32 * MIB);
    came(&s, 0, 0, 16);
    wait_for_bytes(&s, 16 * MIB);
    for (uint64_t i = 0; i < 64 * MIB; i += 512)
        assert_int_equal(s.regions[0]->map[i], i < 32 * MIB ? 0x5a : 0);
    close_stage(&s);
}

/* The end does not wait for what could still be done. */
static void test_end(void **state)
{
    for (int i = 0; i < 20; i++) {
        struct stage s;
        open_stage(&s);
        came(&s, i % 2, 0, 64);
        close_stage(&s);
    }
}

static void test_threads(void **state)
{
    assert_int_equal(populate_beside_threads(100000), 0);
    assert_true(populate_beside_threads(0) <= POPULATE_BESIDE_MAX_THREADS);
}

int main(void)
{
    skip_without_populate();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ahead),   cmocka_unit_test(test_limit),   cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_small),   cmocka_unit_test(test_content), cmocka_unit_test(test_end),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

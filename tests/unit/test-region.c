/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Regions from good and bad files, holes, a terabyte that costs nothing, made memory, marks from threads, and
 * page contents. */
#include "memory/pages.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#ifdef __SANITIZE_THREAD__
#define TIB (UINT64_C(1) << 36) /* it has not enough address space for the real one */
#else
#define TIB (UINT64_C(1) << 40)
#endif

static int memfd(uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

/* Always 0 under ThreadSanitizer, whose own memory grows with every address touched. */
static long resident_kib(void)
{
#ifdef __SANITIZE_THREAD__
    return 0;
#endif
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*s %ld", &pages), 1);
    fclose(f);
    return pages * 4;
}

static uint64_t allocated_pages(int fd)
{
    uint64_t n = 0;
    off_t at = 0;
    for (;;) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0)
            return n;
        at = lseek(fd, data, SEEK_HOLE);
        n += (uint64_t)(at - data) / 4096;
    }
}

static void assert_refused(int fd, const char *name, uint64_t offset, uint64_t size, bool writable,
                           const char *word)
{
    struct region *r = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    int rc = region_new_from_fd(&r, name, fd, offset, size, writable, &e);
    assert_true(rc < 0);
    assert_int_equal(rc, -e.err);
    assert_null(r);
    if (!strstr(e.message, word))
        fail_msg("\"%s\" does not say \"%s\"", e.message, word);
}

static void test_refused(void **state)
{
    _cleanup_close_ int fd = memfd(MIB);
    assert_refused(fd, "", 0, 0, true, "name");
    assert_refused(fd, "a b", 0, 0, true, "name");
    assert_refused(fd, "0123456789012345678901234567890123456789012345678901234567890123", 0, 0, true,
                   "name");
    assert_refused(-1, "ram", 0, 0, true, "descriptor");
    assert_refused(fd, "ram", 1, 4096, true, "multiples");
    assert_refused(fd, "ram", 4096, 100, true, "multiples");
    assert_refused(fd, "ram", MIB, 0, true, "not zero");
    assert_refused(fd, "ram", 0, MIB + 4096, true, "beyond the end");
    assert_refused(fd, "ram", MIB, 4096, true, "beyond the end");
    assert_refused(fd, "ram", UINT64_MAX - 4095, 4096, true, "beyond the end");
    assert_refused(fd, "ram", 0, REGION_SIZE_MAX + 4096, true, "64 TiB");
    _cleanup_close_ int odd = memfd(5000);
    assert_refused(odd, "ram", 0, 0, true, "multiples");
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_refused(pipes[0], "ram", 0, 4096, false, "not a memfd");
    close(pipes[0]);
    close(pipes[1]);
    _cleanup_close_ int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_refused(dir, "ram", 0, 4096, false, "not a memfd");

    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    _cleanup_close_ int reader = open(path, O_RDONLY | O_CLOEXEC), writer = open(path, O_WRONLY | O_CLOEXEC),
                        nothing = open(path, O_PATH | O_CLOEXEC);
    assert_true(reader >= 0 && writer >= 0 && nothing >= 0);
    assert_refused(reader, "ram", 0, 0, true, "reading and writing");
    assert_refused(writer, "ram", 0, 0, false, "reading");
    assert_refused(nothing, "ram", 0, 0, false, "reading");
    _cleanup_(region_unrefp) struct region *r = NULL;
    assert_int_equal(region_new_from_fd(&r, "ram", reader, 0, 0, false, NULL), 0);
    assert_false(r->writable);

    _cleanup_close_ int sealed = memfd(MIB);
    assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_refused(sealed, "ram", 0, 0, true, "cannot map");
}

static void test_offsets(void **state)
{
    _cleanup_close_ int fd = memfd(MIB);
    _cleanup_(region_unrefp) struct region *r = NULL, *whole = NULL;
    assert_int_equal(region_new_from_fd(&r, "high", fd, 3 * 4096, 8 * 4096, true, NULL), 0);
    assert_int_equal(region_new_from_fd(&whole, "whole", fd, 0, 0, true, NULL), 0);
    assert_int_equal(whole->size_bytes, MIB);
    assert_int_equal(r->npages, 8);
    assert_int_equal(r->file_page_bytes, 4096);
    memset(r->map, 7, 4096);
    assert_int_equal(whole->map[3 * 4096], 7);
    assert_int_equal(whole->map[3 * 4096 - 1], 0);
    _cleanup_(region_unrefp) struct region *again = region_ref(r);
    assert_ptr_equal(again, r);
}

static void test_holes(void **state)
{
    _cleanup_close_ int fd = memfd(100 * 4096);
    _cleanup_(region_unrefp) struct region *r = NULL;
    assert_int_equal(region_new_from_fd(&r, "ram", fd, 10 * 4096, 80 * 4096, true, NULL), 0);
    uint64_t first, count;
    assert_false(region_next_data(r, 0, &first, &count));
    assert_int_equal(pwrite(fd, "x", 1, 5 * 4096), 1);  /* before the region */
    assert_int_equal(pwrite(fd, "x", 1, 95 * 4096), 1); /* behind it */
    assert_false(region_next_data(r, 0, &first, &count));
    assert_false(region_next_allocated(r, 0, 80, &first, &count));
    for (int i = 20; i < 23; i++)
        assert_int_equal(pwrite(fd, "x", 1, i * 4096 + 9), 1);
    assert_int_equal(pwrite(fd, "x", 1, 88 * 4096), 1);
    assert_int_equal(pwrite(fd, "x", 1, 89 * 4096), 1);
    assert_int_equal(pwrite(fd, "x", 1, 90 * 4096), 1);
    assert_true(region_next_data(r, 0, &first, &count));
    assert_int_equal(first, 10);
    assert_int_equal(count, 3);
    assert_true(region_next_data(r, 11, &first, &count));
    assert_int_equal(first, 11);
    assert_int_equal(count, 2);
    assert_true(region_next_data(r, 13, &first, &count));
    assert_int_equal(first, 78);
    assert_int_equal(count, 2); /* cut at the end of the region */
    assert_false(region_next_data(r, 80, &first, &count));
    assert_true(region_next_allocated(r, 0, 12, &first, &count));
    assert_int_equal(first, 10);
    assert_int_equal(count, 2);
    assert_false(region_next_allocated(r, 13, 78, &first, &count));

    /* Digests and zeroing leave holes what they are. */
    uint64_t digests[80], zero;
    pages_digest(r, 0, 80, digests);
    assert_int_equal(pages_zero(r, 0, 80), 5);
    assert_int_equal(pages_zero(r, 0, 80), 0);
    assert_int_equal(allocated_pages(fd), 8);
    pages_digest(r, 10, 1, &zero); /* allocated and zero: the constant is right */
    for (unsigned i = 0; i < 80; i++)
        if ((i >= 10 && i < 13) || i >= 78)
            assert_int_not_equal(digests[i], zero);
        else
            assert_int_equal(digests[i], zero);
    assert_int_equal(digests[78], digests[79]);
    assert_int_not_equal(digests[78], digests[10]);
}

static void test_terabyte(void **state)
{
    _cleanup_close_ int fd = memfd(TIB);
    long before = resident_kib();
    _cleanup_(region_unrefp) struct region *r = NULL;
    assert_int_equal(region_new_from_fd(&r, "huge", fd, 0, 0, true, NULL), 0);
    uint64_t first, count, digest;
    assert_false(region_next_data(r, 0, &first, &count));
    assert_int_equal(pwrite(fd, "x", 1, (off_t)(TIB / 2)), 1);
    assert_true(region_next_data(r, 0, &first, &count));
    assert_int_equal(first, TIB / 2 / 4096);
    assert_int_equal(count, 1);
    assert_false(region_next_data(r, first + 1, &first, &count));
    region_mark(r, TIB / 4096 - 1, 1);
    assert_int_equal(region_take_marks(r), 1);
    assert_int_equal(bitmap_count(r->dirty), 1);
    assert_int_equal(pages_zero(r, 0, r->npages), 1);
    pages_digest(r, TIB / 4096 - 1, 1, &digest);
    assert_true(resident_kib() - before < 20 * 1024);
}

static void test_made(void **state)
{
    _cleanup_(region_unrefp) struct region *r = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    assert_int_equal(region_new_made(&r, "made", 4 * MIB, 0, -1, &e), 0);
    assert_true(r->made && r->writable);
    assert_int_equal(fcntl(r->fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW), F_SEAL_SHRINK | F_SEAL_GROW);
    assert_int_not_equal(ftruncate(r->fd, 4096), 0);
    assert_true(fcntl(r->fd, F_GETFD) & FD_CLOEXEC);
    struct region *bad = NULL;
    assert_true(region_new_made(&bad, "made", 4097, 0, -1, &e) < 0);
    assert_true(region_new_made(&bad, "made", 4 * MIB, 3 * MIB, -1, &e) < 0);
    assert_true(region_new_made(&bad, "made", 3 * MIB, 2 * MIB, -1, &e) < 0);
    assert_non_null(strstr(e.message, "whole number of huge pages"));
    assert_true(region_new_made(&bad, "made", 0, 0, -1, &e) < 0);
    assert_true(region_new_made(&bad, "made", 4 * MIB, 0, 1000, &e) < 0);
    assert_non_null(strstr(e.message, "NUMA node 1000"));
    assert_true(e.hint[0]);
    assert_null(bad);
    /* Node 0 exists everywhere, but a kernel may have no NUMA. */
    mig_error_clear(&e);
    _cleanup_(region_unrefp) struct region *placed = NULL;
    if (region_new_made(&placed, "placed", 4 * MIB, 0, 0, &e) < 0)
        assert_int_equal(e.code, MIG_ERR_NOT_SUPPORTED);
    else
        placed->map[0] = 1;
}

static void test_huge(void **state)
{
    _cleanup_(region_unrefp) struct region *r = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    /* 2 TiB of huge pages: no machine that runs this test has reserved them. */
    assert_true(region_new_made(&r, "huge", 2 * TIB, 2 * MIB, -1, &e) < 0);
    assert_non_null(strstr(e.hint, "hugepages"));
    assert_null(r);
    /* And if the machine has two, they are used. */
    mig_error_clear(&e);
    if (region_new_made(&r, "huge", 4 * MIB, 2 * MIB, -1, &e) < 0) {
        print_message("no huge pages reserved here: %s\n", e.message);
        return;
    }
    assert_int_equal(r->file_page_bytes, 2 * MIB);
    r->map[3 * MIB] = 1;
    _cleanup_(region_unrefp) struct region *part = NULL;
    assert_int_equal(region_new_from_fd(&part, "part", r->fd, 3 * MIB, MIB, true, &e), 0);
    assert_int_equal(part->file_page_bytes, 2 * MIB);
    assert_int_equal(part->map[0], 1);
    uint64_t first, count;
    assert_true(region_next_data(part, 1, &first, &count));
    assert_int_equal(first, 1);
    assert_int_equal(count, 255);
}

static void *mark_main(void *arg)
{
    struct region *r = arg;
    for (uint64_t i = 0; i < r->npages; i++)
        region_mark(r, i, 1);
    return NULL;
}

static void test_marks(void **state)
{
    _cleanup_(region_unrefp) struct region *r = NULL;
    assert_int_equal(region_new_made(&r, "ram", 64 * MIB, 0, -1, NULL), 0);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, mark_main, r), 0);
    uint64_t fresh = 0;
    for (int i = 0; i < 200; i++)
        fresh += region_take_marks(r);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    fresh += region_take_marks(r);
    assert_int_equal(fresh, r->npages);
    assert_int_equal(bitmap_count(r->dirty), r->npages);
    assert_true(bitmap_is_empty(r->marks));
    region_mark(r, r->npages, 5);
    region_mark(r, r->npages - 1, UINT64_MAX);
    assert_int_equal(region_take_marks(r), 0);
}

static void test_zero_runs(void **state)
{
    _cleanup_(region_unrefp) struct region *r = NULL;
    enum { N = 300 };
    assert_int_equal(region_new_made(&r, "ram", N * 4096, 0, -1, NULL), 0);
    assert_int_equal(pages_run(r, 0, N, true), N);
    assert_int_equal(pages_run(r, 0, N, false), 0);
    /* One byte anywhere makes a page not zero. */
    for (unsigned at = 0; at < 4096; at++) {
        r->map[5 * 4096 + at] = 1;
        assert_false(page_is_zero(r->map + 5 * 4096));
        r->map[5 * 4096 + at] = 0;
        assert_true(page_is_zero(r->map + 5 * 4096));
    }
    for (unsigned i = 100; i < N; i++)
        r->map[i * 4096 + (i * 37) % 4096] = 0x80;
    assert_int_equal(pages_run(r, 3, N, true), 97);
    assert_int_equal(pages_run(r, 3, 50, true), 50);
    assert_int_equal(pages_run(r, 100, UINT64_MAX, false), N - 100);
    assert_int_equal(pages_run(r, N - 1, 9, false), 1);
    assert_int_equal(pages_run(r, N, 9, false), 0);
    assert_int_equal(pages_run(r, 100, 10, true), 0);
    assert_int_equal(pages_zero(r, 90, 20), 10);
    assert_int_equal(pages_run(r, 0, N, true), 110);
    uint64_t digests[2] = {1, 1};
    pages_digest(r, N - 1, 2, digests); /* clipped */
    assert_int_equal(digests[1], 1);
    pages_digest(r, 120, 2, digests);
    assert_int_not_equal(digests[0], digests[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_offsets),   cmocka_unit_test(test_holes),
        cmocka_unit_test(test_terabyte), cmocka_unit_test(test_made),      cmocka_unit_test(test_huge),
        cmocka_unit_test(test_marks),    cmocka_unit_test(test_zero_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The trackers of kernel containers on a kernel that this file plays. It answers as Linux 6.12 and 7.2 do:
 * type1 refuses a range that cuts a mapping and overwrites whole words; iommufd only sets bits, answers a GET
 * without tracking with success and nothing, and forgets what it has when tracking is turned on.
 */
#include "dirty/harvest.h"
#include "domain/kernel-devices.h"
#include "loop/loop.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include "vfio/iommufd-uapi.h"
#include "vfio/iommufd.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <cmocka.h>

enum { PAGES = 1024, MAPS = 4, HWPTS = 3 };
#define BASE UINT64_C(0x100000)

struct fake_kernel {
    struct kernel_calls calls;
    bool iommufd, compat; /* what it is */
    bool says_everything, no_migration_cap, no_tracking;
    uint32_t plain_hwpt; /* one that cannot track */
    uint64_t max_bitmap_bytes;
    struct {
        uint64_t iova, size;
    } maps[MAPS];
    bool tracking[HWPTS]; /* type1: the first */
    bool dirty[HWPTS][PAGES];
    unsigned gets, starts, stops;
    int get_rc;
    pthread_mutex_t lock; /* one call at a time, and device writes between them */
};

static struct fake_kernel *kernel_of(const struct kernel_calls *c)
{
    return CONTAINER_OF(c, struct fake_kernel, calls);
}

static uint64_t page_of(uint64_t iova)
{
    return (iova - BASE) / 4096;
}

static bool cuts(struct fake_kernel *k, uint64_t iova, uint64_t size)
{
    for (unsigned i = 0; i < MAPS; i++) {
        uint64_t a = k->maps[i].iova, b = a + k->maps[i].size;
        bool overlaps = k->maps[i].size && a < iova + size && iova < b;
        if (overlaps && (a < iova || b > iova + size))
            return true;
    }
    return false;
}

static bool mapped(struct fake_kernel *k, uint64_t iova)
{
    for (unsigned i = 0; i < MAPS; i++)
        if (iova >= k->maps[i].iova && iova - k->maps[i].iova < k->maps[i].size)
            return true;
    return false;
}

static int take(struct fake_kernel *k, unsigned hwpt, uint64_t iova, uint64_t size, bool keep,
                uint64_t *words)
{
    for (uint64_t n = 0; n < size / 4096; n++) {
        bool *bit = &k->dirty[hwpt][page_of(iova) + n];
        if (!mapped(k, iova + n * 4096))
            continue;
        if (*bit || k->says_everything)
            words[n / 64] |= UINT64_C(1) << (n % 64);
        if (!keep)
            *bit = false;
    }
    return 0;
}

static int type1_get(struct fake_kernel *k, const struct kvfio_dirty_get *g)
{
    if (!k->tracking[0] || g->bitmap.pgsize != 4096 || cuts(k, g->iova, g->size) ||
        g->bitmap.size < kernel_bitmap_bytes(g->size / 4096) || g->bitmap.size > k->max_bitmap_bytes)
        return -EINVAL;
    memset((void *)(uintptr_t)g->bitmap.data, 0, g->bitmap.size);
    k->gets++;
    return k->get_rc < 0 ? k->get_rc
                         : take(k, 0, g->iova, g->size, false, (uint64_t *)(uintptr_t)g->bitmap.data);
}

static int type1_unmap(struct fake_kernel *k, struct kvfio_dma_unmap_bitmap *u)
{
    uint64_t asked = u->unmap.size;
    u->unmap.size = 0;
    for (unsigned i = 0; i < MAPS; i++)
        if (k->maps[i].iova == u->unmap.iova && k->maps[i].size == asked) {
            if (u->unmap.flags & KVFIO_UNMAP_GET_BITMAP)
                take(k, 0, u->unmap.iova, asked, false, (uint64_t *)(uintptr_t)u->bitmap.data);
            k->maps[i].size = 0;
            u->unmap.size = asked;
        }
    return 0;
}

static int type1_info(struct fake_kernel *k, struct kvfio_iommu_info *i)
{
    struct {
        struct kvfio_iommu_info head;
        struct kvfio_cap_header ranges;
        struct kvfio_cap_migration migration;
    } all = {
        .head = {.argsz = sizeof all, .flags = KVFIO_INFO_PGSIZES, .pgsizes = 0x1000},
        .ranges = {.id = 1, .next = k->no_migration_cap ? 0 : sizeof all.head + sizeof all.ranges},
        .migration = {.header = {.id = KVFIO_CAP_MIGRATION},
                      .pgsize_bitmap = 0x201000,
                      .max_dirty_bitmap_size = k->max_bitmap_bytes},
    };
    uint32_t room = i->argsz;
    all.head.flags |= KVFIO_INFO_CAPS;
    all.head.cap_offset = room >= sizeof all ? sizeof all.head : 0;
    memcpy(i, &all, room >= sizeof all ? sizeof all : sizeof all.head);
    return 0;
}

static int call_type1(struct fake_kernel *k, unsigned long request, void *arg)
{
    const struct kvfio_dirty *d = arg;
    switch (request) {
    case KVFIO_GET_API_VERSION:
        return 0;
    case KVFIO_IOMMU_GET_INFO:
        return type1_info(k, arg);
    case KVFIO_IOMMU_UNMAP_DMA:
        return type1_unmap(k, arg);
    case KVFIO_IOMMU_DIRTY:
        if (d->flags == KVFIO_DIRTY_GET)
            return type1_get(k, arg);
        k->tracking[0] = d->flags == KVFIO_DIRTY_START;
        k->starts += k->tracking[0];
        k->stops += !k->tracking[0];
        return 0;
    default:
        return -ENOTTY;
    }
}

/* HWPT ids are 10, 20, 30. */
static int hwpt_index(uint32_t id)
{
    return id % 10 == 0 && id >= 10 && id <= 10 * HWPTS ? (int)id / 10 - 1 : -1;
}

static int call_iommufd(struct fake_kernel *k, unsigned long request, void *arg)
{
    const struct kiofd_get_dirty *g = arg;
    const struct kiofd_set_dirty *s = arg;
    const struct kiofd_ioas_unmap *u = arg;
    if (request == KIOFD_DESTROY)
        return *(uint32_t *)arg < 8 ? -EINVAL : -ENOENT;
    if (request == KIOFD_IOAS_UNMAP) {
        for (unsigned i = 0; i < MAPS; i++)
            if (k->maps[i].iova == u->iova && k->maps[i].size == u->length) {
                memset(k->dirty, 0, sizeof k->dirty); /* what was not read by now is lost */
                k->maps[i].size = 0;
                return 0;
            }
        return -ENOENT;
    }
    if (request == KIOFD_HWPT_SET_DIRTY) {
        int h = hwpt_index(s->hwpt_id);
        if (h < 0 || k->no_tracking)
            return h < 0 ? -ENOENT : -EOPNOTSUPP;
        k->tracking[h] = s->flags & KIOFD_DIRTY_ENABLE;
        if (k->tracking[h])
            memset(k->dirty[h], 0, sizeof k->dirty[h]);
        return 0;
    }
    if (request == KIOFD_HWPT_GET_DIRTY) {
        int h = hwpt_index(g->hwpt_id);
        if (h < 0)
            return g->hwpt_id == k->plain_hwpt ? -EOPNOTSUPP : -ENOENT;
        if (g->iova < BASE || !k->tracking[h])
            return 0;
        k->gets++;
        return k->get_rc < 0 ? k->get_rc
                             : take(k, (unsigned)h, g->iova, g->length, g->flags & KIOFD_DIRTY_NO_CLEAR,
                                    (uint64_t *)(uintptr_t)g->data);
    }
    return k->compat ? call_type1(k, request, arg) : -ENOTTY;
}

static int call(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    struct fake_kernel *k = kernel_of(calls);
    pthread_mutex_lock(&k->lock);
    int r = k->iommufd ? call_iommufd(k, request, arg) : call_type1(k, request, arg);
    pthread_mutex_unlock(&k->lock);
    return r;
}

/* ---- the rig ---- */

struct rig {
    struct fake_kernel k;
    int fd;
    struct region *region;
    struct container *c;
    struct tracker *t;
    struct harvest_set set;
    struct mig_error e;
};

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    g->k.calls.ioctl = call;
    pthread_mutex_init(&g->k.lock, NULL);
    g->k.max_bitmap_bytes = 1 << 20;
    g->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(region_new_made(&g->region, "ram", PAGES * 4096, 0, -1, &g->e), 0);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    g->t = tracker_free(g->t);
    container_unref(g->c);
    for (unsigned h = 0; h < HWPTS; h++)
        assert_false(g->k.tracking[h]); /* R10 */
    assert_int_equal(g->region->refs, 1);
    region_unref(g->region);
    close_fd(&g->fd);
    pthread_mutex_destroy(&g->k.lock);
    free(g);
    return 0;
}

static void make(struct rig *g, bool iommufd, uint32_t ioas)
{
    g->k.iommufd = iommufd;
    if (container_new(&g->c, "dma0", g->fd, NULL, 0, ioas, &g->k.calls, &g->e) < 0 ||
        tracker_new_container(&g->t, g->c, &g->e) < 0)
        fail_msg("%s", g->e.message);
    assert_string_equal(g->t->ops->kind, iommufd ? "iommufd" : "type1");
    g->set = (struct harvest_set){&g->t, 1, &g->region, 1};
}

/* In the fake kernel, and told to migd. */
static void map(struct rig *g, unsigned i, uint64_t page, uint64_t pages, uint64_t region_page, uint32_t prot)
{
    struct iova_mapping m = {BASE + page * 4096, pages * 4096, g->region, region_page * 4096, prot};
    g->k.maps[i].iova = m.iova;
    g->k.maps[i].size = m.size_bytes;
    if (container_map(g->c, &m, &g->e) < 0)
        fail_msg("%s", g->e.message);
}

static uint64_t harvest(struct rig *g)
{
    struct harvest_result got;
    bitmap_clear_all(g->region->dirty);
    if (harvest_run(&g->set, &got, &g->e) < 0)
        fail_msg("%s", g->e.message);
    return bitmap_count(g->region->dirty);
}

static void wrote(struct rig *g, unsigned hwpt, uint64_t page)
{
    g->k.dirty[hwpt][page] = true;
}

static void test_type1_exact(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    map(g, 0, 0, 70, 10, IOVA_READ | IOVA_WRITE);
    map(g, 1, 200, 130, 100, IOVA_READ | IOVA_WRITE); /* a hole before it */
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_false(tracker_is_blind(g->t));
    wrote(g, 0, 0);
    wrote(g, 0, 69);
    wrote(g, 0, 100); /* nothing is mapped there */
    wrote(g, 0, 329);
    assert_int_equal(harvest(g), 3);
    assert_true(bitmap_test(g->region->dirty, 10));
    assert_true(bitmap_test(g->region->dirty, 79));
    assert_true(bitmap_test(g->region->dirty, 229));
    assert_int_equal(harvest(g), 0);
    harvest_stop(&g->set);
    assert_int_equal(g->k.stops, 1);
}

static void expect_gate(struct rig *g, bool digests, uint64_t pages)
{
    struct gate_finding f;
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_gate(&g->set, &f, &g->e), 0);
    assert_int_equal(f.needs_digests, digests);
    assert_int_equal(f.pages, pages);
}

static void test_type1_blind(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    map(g, 0, 0, 64, 0, IOVA_READ | IOVA_WRITE);
    map(g, 1, 100, 10, 500, IOVA_READ); /* the kernel says that it was written, which cannot be */
    g->k.says_everything = true;
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_int_equal(g->k.gets, 4); /* two reads of two mappings */
    assert_true(tracker_is_blind(g->t));
    assert_int_equal(harvest(g), 64);
    assert_int_equal(harvest(g), 64);
    g->k.gets = 0;
    expect_gate(g, true, 0);
    assert_int_equal(g->k.gets, 0); /* the gate does not ask it */
    harvest_stop(&g->set);
    /* Found anew at every start. */
    g->k.says_everything = false;
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_false(tracker_is_blind(g->t));
}

/* The owner has laid something else over pages in the middle and at the end of what migd knows as one
 * mapping.
 */
static void test_type1_blind_with_holes(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    map(g, 0, 0, 64, 0, IOVA_READ | IOVA_WRITE);
    g->k.maps[0].size = 40 * 4096;
    g->k.maps[1].iova = BASE + 44 * 4096;
    g->k.maps[1].size = 16 * 4096;
    g->k.says_everything = true;
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_true(tracker_is_blind(g->t));
    assert_int_equal(harvest(g), 64);
    expect_gate(g, true, 0);
    g->k.says_everything = false;
    harvest(g);
    assert_false(tracker_is_blind(g->t));
    wrote(g, 0, 45);
    assert_int_equal(harvest(g), 1);
}

/* A hardware device joins a container of mediated ones while rounds run, and leaves it again. */
static void test_type1_blind_later(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    map(g, 0, 0, 64, 0, IOVA_READ | IOVA_WRITE);
    map(g, 1, 100, 10, 500, IOVA_READ);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    wrote(g, 0, 3);
    assert_int_equal(harvest(g), 1);
    assert_false(tracker_is_blind(g->t));
    g->k.says_everything = true;
    g->k.gets = 0;
    assert_true(harvest(g) >= 64);
    assert_int_equal(g->k.gets, 4); /* recognised within two reads */
    assert_true(tracker_is_blind(g->t));
    assert_int_equal(harvest(g), 64);
    expect_gate(g, true, 0);
    g->k.says_everything = false;
    assert_int_equal(harvest(g), 64); /* it was blind until now: once more everything */
    assert_false(tracker_is_blind(g->t));
    wrote(g, 0, 5);
    assert_int_equal(harvest(g), 1);
    expect_gate(g, false, 0);
}

/* A workload that really wrote everything: the second read tells, whenever that is. */
static void test_type1_all_written(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    map(g, 0, 0, 64, 0, IOVA_READ | IOVA_WRITE);
    for (unsigned i = 0; i < 64; i++)
        wrote(g, 0, i);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_false(tracker_is_blind(g->t));
    for (unsigned i = 0; i < 64; i++)
        wrote(g, 0, i);
    assert_int_equal(harvest(g), 64);
    assert_false(tracker_is_blind(g->t));
    assert_int_equal(harvest(g), 0);
    /* It writes everything again between the two reads as well, for a while: not for ever. */
    g->k.says_everything = true;
    assert_int_equal(harvest(g), 64);
    assert_true(tracker_is_blind(g->t));
    g->k.says_everything = false;
    wrote(g, 0, 1);
    assert_int_equal(harvest(g), 64);
    wrote(g, 0, 2);
    assert_int_equal(harvest(g), 1);
    assert_false(tracker_is_blind(g->t));
}

/* Nothing is mapped: nothing is said about what the container knows. */
static void test_type1_nothing_mapped(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    g->k.says_everything = true;
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_false(tracker_is_blind(g->t));
    map(g, 0, 0, 64, 0, IOVA_READ | IOVA_WRITE);
    assert_int_equal(harvest(g), 64);
    assert_true(tracker_is_blind(g->t));
}

/* Somebody else turned tracking off. type1 says so (EINVAL), and what was written meanwhile is not known. */
static void test_type1_turned_off(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    map(g, 0, 0, 64, 0, IOVA_READ | IOVA_WRITE);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    g->k.tracking[0] = false;
    assert_int_equal(harvest(g), 64);
    assert_true(g->k.tracking[0]);
    wrote(g, 0, 9);
    assert_int_equal(harvest(g), 1);
    /* At the gate nothing is put right: that nobody wrote is not known. */
    g->k.tracking[0] = false;
    struct gate_finding f;
    bitmap_clear_all(g->region->dirty);
    assert_true(harvest_gate(&g->set, &f, &g->e) < 0);
    assert_non_null(strstr(g->e.message, "dma0"));
    /* A mapping that was made anew in another size: refused for good. */
    assert_int_equal(container_start(g->c, &g->e), 0);
    g->k.tracking[0] = true;
    g->k.maps[0].size += 4096;
    mig_error_clear(&g->e);
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_run(&g->set, NULL, &g->e), -EINVAL);
    assert_int_equal(bitmap_count(g->region->dirty), 64);
}

/* A container that fails once but lives counts as written whole; at the gate the failure is the answer. */
static void test_failing_reads(void **state)
{
    static const int survivable[] = {-ENOMEM, -EFAULT, -EAGAIN, -ENOENT, -EIO};
    struct rig *g = *state;
    struct gate_finding f;
    for (int iommufd = 0; iommufd < 2; iommufd++) {
        make(g, iommufd, 0);
        map(g, 0, 0, 64, 0, IOVA_READ | IOVA_WRITE);
        map(g, 1, 100, 10, 500, IOVA_READ);
        assert_int_equal(harvest_start(&g->set, &g->e), 0);
        for (size_t i = 0; i < ELEMENTS(survivable); i++) {
            g->k.get_rc = survivable[i];
            assert_int_equal(harvest(g), 64);
            bitmap_clear_all(g->region->dirty);
            mig_error_clear(&g->e);
            assert_int_equal(harvest_gate(&g->set, &f, &g->e), survivable[i]);
            assert_non_null(strstr(g->e.message, "dma0"));
        }
        g->k.get_rc = -ENODEV;
        mig_error_clear(&g->e);
        assert_int_equal(harvest_run(&g->set, NULL, &g->e), -ENODEV);
        g->k.get_rc = 0;
        assert_int_equal(harvest(g), 0);
        g->t = tracker_free(g->t);
        g->c = container_unref(g->c);
    }
}

/* The same bits must not have two readers: each would take them from the other, and the end of one would turn
 * the other's tracking off, which iommufd tells nobody. */
static void test_two_readers(void **state)
{
    struct rig *g = *state;
    struct container *again = NULL, *other = NULL;
    if (syscall(SYS_kcmp, getpid(), getpid(), 0, (unsigned long)g->fd, (unsigned long)g->fd) != 0) {
        print_message("kcmp is not allowed here: two readers of the same bits are not told apart\n");
        return;
    }
    const uint32_t first[] = {10, 20}, second[] = {20, 30}, third = 30;
    for (int iommufd = 0; iommufd < 2; iommufd++) {
        g->k.iommufd = iommufd;
        assert_int_equal(container_new(&g->c, "dma0", g->fd, first, iommufd ? 2 : 0, 0, &g->k.calls, &g->e),
                         0);
        assert_int_equal(container_new(&again, "dma1", g->fd, second, iommufd ? 2 : 0, 0, &g->k.calls, &g->e),
                         0);
        assert_int_equal(container_start(g->c, &g->e), 0);
        mig_error_clear(&g->e);
        assert_int_equal(container_start(again, &g->e), -EBUSY);
        assert_non_null(strstr(g->e.message, "dma0"));
        assert_non_null(strstr(g->e.hint, "registered twice"));
        container_stop(again);
        assert_true(g->k.tracking[0]);
        container_stop(g->c);
        assert_int_equal(container_start(again, &g->e), 0);
        again = container_unref(again);
        g->c = container_unref(g->c);
    }
    /* Other HWPTs of the same iommufd are other bits. */
    assert_int_equal(container_new(&g->c, "dma0", g->fd, first, 2, 0, &g->k.calls, &g->e), 0);
    assert_int_equal(container_new(&other, "dma1", g->fd, &third, 1, 0, &g->k.calls, &g->e), 0);
    assert_int_equal(container_start(g->c, &g->e), 0);
    assert_int_equal(container_start(other, &g->e), 0);
    container_stop(g->c);
    assert_true(g->k.tracking[2]);
    container_unref(other);
    /* Two address spaces of it, of which nobody said which HWPTs they have: to release one would not help. */
    g->c = container_unref(g->c);
    assert_int_equal(container_new(&g->c, "dma0", g->fd, NULL, 0, 1, &g->k.calls, &g->e), 0);
    assert_int_equal(container_new(&other, "dma1", g->fd, NULL, 0, 2, &g->k.calls, &g->e), 0);
    assert_int_equal(container_start(g->c, &g->e), 0);
    mig_error_clear(&g->e);
    assert_int_equal(container_start(other, &g->e), -EBUSY);
    assert_non_null(strstr(g->e.hint, "hwpts"));
    assert_null(strstr(g->e.hint, "twice"));
    container_unref(other);
}

static void test_type1_unmap(void **state)
{
    struct rig *g = *state;
    bool unmapped;
    make(g, false, 0);
    map(g, 0, 0, 64, 0, IOVA_WRITE);
    map(g, 1, 100, 8, 100, IOVA_WRITE);
    map(g, 2, 200, 8, 200, IOVA_WRITE);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    wrote(g, 0, 7);
    wrote(g, 0, 103);
    assert_int_equal(container_unmap(g->c, BASE, 64 * 4096, false, &unmapped, &g->e), 0);
    assert_true(unmapped);
    assert_int_equal(g->k.maps[0].size, 0);
    assert_int_equal(harvest(g), 2); /* one by the unmap, one by the read */
    /* The owner was faster: nobody knows what the last bits were. */
    g->k.maps[1].size = 0;
    assert_int_equal(container_unmap(g->c, BASE + 100 * 4096, 8 * 4096, false, &unmapped, &g->e), 0);
    assert_false(unmapped);
    assert_int_equal(harvest(g), 8);
    assert_int_equal(container_unmap(g->c, BASE + 200 * 4096, 8 * 4096, true, &unmapped, &g->e), 0);
    assert_int_equal(harvest(g), 8);
    assert_int_equal(container_unmap(g->c, BASE, 4096, false, NULL, &g->e), -ENOENT);
    assert_int_equal(harvest(g), 0);
}

static void test_type1_refused(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    /* migd was told half of what the kernel has. */
    map(g, 0, 0, 32, 0, IOVA_WRITE);
    g->k.maps[0].size = 64 * 4096;
    assert_int_equal(harvest_start(&g->set, &g->e), -EINVAL);
    assert_non_null(strstr(g->e.message, "dma0"));
    assert_non_null(strstr(g->e.hint, "cuts"));
    assert_false(g->k.tracking[0]);
    /* Larger than one bitmap of the kernel. */
    g->k.maps[0].size = 32 * 4096;
    g->t = tracker_free(g->t);
    g->c = container_unref(g->c);
    g->k.max_bitmap_bytes = 8;
    make(g, false, 0);
    map(g, 0, 0, 65, 0, IOVA_WRITE);
    mig_error_clear(&g->e);
    assert_int_equal(harvest_start(&g->set, &g->e), -E2BIG);
    assert_non_null(strstr(g->e.hint, "smaller"));
}

static void test_type1_without_capability(void **state)
{
    struct rig *g = *state;
    /* A file is not even asked. */
    assert_int_equal(container_new(&g->c, "dma0", g->region->fd, NULL, 0, 0, &g->k.calls, &g->e), -EINVAL);
    mig_error_clear(&g->e);
    g->k.no_migration_cap = true;
    assert_int_equal(container_new(&g->c, "dma0", g->fd, NULL, 0, 0, &g->k.calls, &g->e), -EOPNOTSUPP);
    /* An iommufd that plays a container: whoever asks for type1 is told. */
    g->k.iommufd = g->k.compat = true;
    mig_error_clear(&g->e);
    assert_int_equal(container_new_type1(&g->c, "dma0", g->fd, &g->k.calls, &g->e), -EOPNOTSUPP);
    assert_non_null(strstr(g->e.message, "plays a type1 container"));
    assert_null(g->c);
}

static void test_iommufd(void **state)
{
    struct rig *g = *state;
    make(g, true, 0); /* all three HWPTs are found */
    map(g, 0, 0, 130, 3, IOVA_WRITE);
    wrote(g, 1, 5); /* before tracking: not ours */
    assert_int_equal(container_report(g->c, false, NULL, NULL, &g->e), -ESTALE);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    for (unsigned h = 0; h < HWPTS; h++)
        assert_true(g->k.tracking[h]);
    assert_int_equal(harvest(g), 0);
    wrote(g, 0, 1);
    wrote(g, 1, 1);
    wrote(g, 2, 129);
    assert_int_equal(harvest(g), 2); /* OR-ed */
    assert_true(bitmap_test(g->region->dirty, 4));
    assert_true(bitmap_test(g->region->dirty, 132));
    assert_int_equal(harvest(g), 0);
    /* What cannot be read counts as written. */
    g->k.get_rc = -EFAULT;
    assert_int_equal(harvest(g), 130);
    g->k.get_rc = 0;
    assert_int_equal(harvest(g), 0);
    /* The gate's reading may be asked again after a resend. */
    struct gate_finding f;
    wrote(g, 2, 9);
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_gate(&g->set, &f, &g->e), 0);
    assert_int_equal(f.pages, 1);
    bitmap_clear_all(g->region->dirty);
    assert_int_equal(harvest_gate(&g->set, &f, &g->e), 0);
    assert_int_equal(f.pages, 0);
}

static void test_iommufd_unmap(void **state)
{
    struct rig *g = *state;
    bool unmapped;
    make(g, true, 7);
    map(g, 0, 0, 64, 0, IOVA_WRITE);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    wrote(g, 0, 63);
    assert_int_equal(container_unmap(g->c, BASE, 64 * 4096, false, &unmapped, &g->e), 0);
    assert_true(unmapped);
    assert_int_equal(harvest(g), 1); /* the fake loses what is read after the unmap */
    /* Without the IOAS migd takes the bits, and the owner unmaps after that. */
    g->t = tracker_free(g->t);
    g->c = container_unref(g->c);
    make(g, true, 0);
    map(g, 0, 0, 64, 0, IOVA_WRITE);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    wrote(g, 1, 2);
    assert_int_equal(container_unmap(g->c, BASE, 64 * 4096, false, &unmapped, &g->e), 0);
    assert_false(unmapped);
    assert_int_equal(g->k.maps[0].size, 64 * 4096);
    assert_int_equal(harvest(g), 1);
}

static void test_iommufd_refused(void **state)
{
    struct rig *g = *state;
    uint32_t wrong = 11;
    g->k.iommufd = true;
    assert_int_equal(container_new(&g->c, "dma0", g->fd, &wrong, 1, 0, &g->k.calls, &g->e), 0);
    assert_int_equal(container_start(g->c, &g->e), -ENOENT);
    g->c = container_unref(g->c);
    mig_error_clear(&g->e);
    make(g, true, 0);
    g->k.no_tracking = true;
    assert_int_equal(harvest_start(&g->set, &g->e), -EOPNOTSUPP);
    assert_non_null(strstr(g->e.hint, "DIRTY_TRACKING"));
    assert_false(g->c->tracking);
}

/* A device may be attached to an HWPT that was not made for tracking, and nothing tells. */
static void test_iommufd_partial(void **state)
{
    struct rig *g = *state;
    make(g, true, 0);
    assert_false(g->c->partial);
    g->t = tracker_free(g->t);
    g->c = container_unref(g->c);
    g->k.plain_hwpt = 7;
    make(g, true, 0);
    assert_true(g->c->partial);
}

static void test_dead_holder(void **state)
{
    struct rig *g = *state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    make(g, false, 0);
    assert_int_equal(container_set_holder(g->c, ends[0], &g->e), 0);
    map(g, 0, 0, 4, 0, IOVA_WRITE);
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    wrote(g, 0, 1);
    assert_int_equal(harvest(g), 1);
    close_fd(&ends[1]); /* as readable as the pidfd of a process that has ended */
    assert_true(container_is_gone(g->c));
    assert_int_equal(harvest_run(&g->set, NULL, &g->e), -ENODEV);
    assert_int_equal(g->e.code, MIG_ERR_DEVICE_GONE);
    assert_non_null(strstr(g->e.message, "dma0"));
    atomic_store(&g->t->blind, true); /* one that knows nothing notices too */
    assert_int_equal(harvest_run(&g->set, NULL, &g->e), -ENODEV);
    harvest_stop(&g->set);
    assert_int_equal(g->k.stops, 1);
    assert_int_equal(harvest_start(&g->set, &g->e), -ENODEV);
    close_fd(&ends[0]);
}

/* A kernel device that answers nothing but what it is. */
static int call_device(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    return request == KVFIO_DEVICE_GET_INFO ? 0 : -ENOTTY;
}

/* A mediated device is heard by type1 only: with an iommufd its container cannot be its tracker. */
static void test_mediated_device_behind_an_iommufd(void **state)
{
    static const struct kernel_calls calls = {.ioctl = call_device};
    struct rig *g = *state;
    char dir[] = "/tmp/migd-mdev-XXXXXX", link[64];
    assert_non_null(mkdtemp(dir));
    snprintf(link, sizeof link, "%s/subsystem", dir);
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    for (int mediated = 0; mediated < 2; mediated++)
        for (int iommufd = 0; iommufd < 2; iommufd++)
            for (int cdev = 0; cdev < 2; cdev++) {
                struct domain *d;
                struct device *device = NULL;
                assert_int_equal(symlink(mediated ? "/sys/bus/mdev" : "/sys/bus/pci", link), 0);
                g->k.iommufd = iommufd;
                assert_int_equal(container_new(&g->c, "dma0", g->fd, NULL, 0, 0, &g->k.calls, &g->e), 0);
                assert_int_equal(domain_new(&d, "demo", false, &g->e), 0);
                assert_int_equal(
                    domain_insert_container(d, &(struct domain_container){.container = g->c}, &g->e), 0);
                const struct kvfio_device_options o = {
                    .fd = g->fd, .gone_fd = -1, .sysfs_path = dir, .calls = &calls};
                assert_int_equal(kvfio_device_new(&device, "tty0", &o, &g->e), 0);
                assert_int_equal(unlink(link), 0);
                if (!cdev) /* of a group: a file without a type, for which a pipe must do */
                    assert_true(dup3(pipes[0], kvfio_device_fd(device), O_CLOEXEC) >= 0);
                struct domain_device wanted = {.tracker_container = true};
                bool refuse = mediated && (iommufd || cdev);
                mig_error_clear(&g->e);
                assert_int_equal(domain_settle_tracking(d, device, &wanted, &g->e), refuse ? -EOPNOTSUPP : 0);
                if (refuse)
                    assert_non_null(strstr(g->e.hint, "device-mdev-untracked"));
                /* Nobody chose: the same answer, and never in silence. */
                wanted = (struct domain_device){.tracker_auto = true};
                assert_int_equal(domain_settle_tracking(d, device, &wanted, NULL), refuse ? -EOPNOTSUPP : 0);
                wanted = (struct domain_device){.tracker_all = true};
                assert_int_equal(domain_settle_tracking(d, device, &wanted, &g->e), 0);
                device_unref(device);
                domain_unref(d);
                g->c = container_unref(g->c);
            }
    close(pipes[0]);
    close(pipes[1]);
    rmdir(dir);
}

static void test_dead_holder_breaks_the_domain(void **state)
{
    struct rig *g = *state;
    _cleanup_(loop_freep) struct loop *l = NULL;
    struct domain *d;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    make(g, false, 0);
    assert_int_equal(container_set_holder(g->c, ends[0], &g->e), 0);
    assert_int_equal(domain_new(&d, "demo", false, &g->e), 0);
    assert_int_equal(loop_new(&l), 0);
    d->loop = l;
    assert_int_equal(domain_insert_container(d, &(struct domain_container){.container = g->c}, &g->e), 0);
    domain_watch_devices(d);
    assert_non_null(d->containers[0].gone_watch);
    assert_int_equal(domain_borrow(d, "0123", &g->e), 0);
    close_fd(&ends[1]);
    domain_watch_devices(d);
    assert_int_equal(d->state, DOMAIN_STATE_RUNNING); /* whoever borrows it finds out */
    domain_give_back(d);
    assert_int_equal(d->state, DOMAIN_STATE_BROKEN);
    assert_non_null(strstr(d->problem, "container dma0 is gone"));
    domain_stop_watching(d);
    domain_unref(d);
    close_fd(&ends[0]);
}

/* A vIOMMU guest: maps, lets the device write one page, unmaps, again and again, beside the harvests. Each
 * page of the region is written in exactly one turn, and must be found in the end, whether a read or an unmap
 * got its bit (R6). */
enum { CHURN_PAGES = 8, CHURN_PLACES = PAGES / CHURN_PAGES };

struct churn {
    struct rig *g;
    _Atomic bool done;
    _Atomic unsigned turns;
};

static void *churn(void *userdata)
{
    struct churn *ch = userdata;
    struct rig *g = ch->g;
    for (unsigned n = 0; n < PAGES; n++) {
        uint64_t iova_page = 100 + n % 3 * 100, first = n % CHURN_PLACES * CHURN_PAGES, k = n / CHURN_PLACES;
        struct iova_mapping m = {BASE + iova_page * 4096, CHURN_PAGES * 4096, g->region, first * 4096,
                                 IOVA_WRITE};
        struct mig_error e = MIG_ERROR_INIT;
        pthread_mutex_lock(&g->k.lock);
        g->k.maps[1].iova = m.iova;
        g->k.maps[1].size = m.size_bytes;
        pthread_mutex_unlock(&g->k.lock);
        if (container_map(g->c, &m, &e) < 0)
            break;
        pthread_mutex_lock(&g->k.lock);
        wrote(g, 0, iova_page + k);
        pthread_mutex_unlock(&g->k.lock);
        if (n % 5 == 0)
            usleep(100); /* let a harvest come between */
        if (container_unmap(g->c, m.iova, m.size_bytes, false, NULL, &e) < 0)
            break;
        ch->turns++;
    }
    ch->done = true;
    return NULL;
}

static void churn_beside_harvests(struct rig *g)
{
    struct churn ch = {.g = g};
    pthread_t thread;
    unsigned harvests = 0;
    assert_int_equal(harvest_start(&g->set, &g->e), 0);
    assert_int_equal(pthread_create(&thread, NULL, churn, &ch), 0);
    do {
        if (harvest_run(&g->set, NULL, &g->e) < 0)
            fail_msg("%s", g->e.message);
        harvests++;
    } while (!ch.done);
    pthread_join(thread, NULL);
    assert_int_equal(ch.turns, PAGES);
    assert_int_equal(harvest_run(&g->set, NULL, &g->e), 0);
    assert_int_equal(bitmap_count(g->region->dirty), PAGES);
    assert_true(harvests > 1);
    harvest_stop(&g->set);
}

static void test_type1_churn(void **state)
{
    struct rig *g = *state;
    make(g, false, 0);
    churn_beside_harvests(g);
}

static void test_iommufd_churn(void **state)
{
    struct rig *g = *state;
    make(g, true, 7);
    churn_beside_harvests(g);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_type1_exact),
        T(test_type1_blind),
        T(test_type1_blind_with_holes),
        T(test_type1_blind_later),
        T(test_type1_all_written),
        T(test_type1_nothing_mapped),
        T(test_type1_turned_off),
        T(test_failing_reads),
        T(test_two_readers),
        T(test_type1_unmap),
        T(test_type1_refused),
        T(test_type1_without_capability),
        T(test_iommufd),
        T(test_iommufd_unmap),
        T(test_type1_churn),
        T(test_iommufd_churn),
        T(test_iommufd_refused),
        T(test_iommufd_partial),
        T(test_dead_holder),
        T(test_dead_holder_breaks_the_domain),
        T(test_mediated_device_behind_an_iommufd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

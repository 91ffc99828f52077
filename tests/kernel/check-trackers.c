/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trackers of kernel containers and device logs on a real kernel, with devices that really DMA. Runs
 * inside the lab. */
#include "dirty/harvest.h"
#include "base/clock.h"
#include "lab.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include "vfio/iommufd.h"
#include <fcntl.h>
#include <string.h>

#define IOVA_BASE UINT64_C(0x100000)
enum { PAGES = 1024 };

/* Memory of 4 MiB in two mappings with a hole between: region pages 0..511 at IOVA 1 MiB, 512..1023 at 6 MiB.
 */
struct scene {
    struct region *region;
    struct container *container;
    struct tracker *tracker;
    struct harvest_set set;
    struct mig_error e;
};

static const struct {
    uint64_t iova, first_page, npages;
} layout[] = {{IOVA_BASE, 0, 512}, {UINT64_C(0x600000), 512, 512}};

static uint64_t iova_of(uint64_t page)
{
    const unsigned i = page >= 512;
    return layout[i].iova + (page - layout[i].first_page) * 4096;
}

static void make_memory(struct scene *s)
{
    LAB_OK(region_new_made(&s->region, "ram", PAGES * 4096, 0, -1, &s->e), &s->e);
}

static struct iova_mapping mapping(struct scene *s, unsigned i)
{
    return (struct iova_mapping){layout[i].iova, layout[i].npages * 4096, s->region,
                                 layout[i].first_page * 4096, IOVA_READ | IOVA_WRITE};
}

static void *memory_of(struct scene *s, unsigned i)
{
    return s->region->map + layout[i].first_page * 4096;
}

static void track(struct scene *s, int fd, uint32_t ioas)
{
    LAB_OK(container_new(&s->container, "dma0", fd, NULL, 0, ioas, NULL, &s->e), &s->e);
    for (unsigned i = 0; i < ELEMENTS(layout); i++) {
        struct iova_mapping m = mapping(s, i);
        LAB_OK(container_map(s->container, &m, &s->e), &s->e);
    }
    LAB_OK(tracker_new_container(&s->tracker, s->container, &s->e), &s->e);
    s->set = (struct harvest_set){&s->tracker, 1, &s->region, 1};
}

static uint64_t harvest(struct scene *s)
{
    bitmap_clear_all(s->region->dirty);
    LAB_OK(harvest_run(&s->set, NULL, &s->e), &s->e);
    return bitmap_count(s->region->dirty);
}

static void expect_pages(struct scene *s, const uint64_t *pages, size_t n)
{
    LAB_EQUAL(harvest(s), n);
    for (size_t i = 0; i < n; i++)
        if (!bitmap_test(s->region->dirty, pages[i]))
            lab_fail(__FILE__, __LINE__, "page %llu was written and is not reported",
                     (unsigned long long)pages[i]);
}

static void drop(struct scene *s)
{
    tracker_free(s->tracker);
    container_unref(s->container);
    region_unref(s->region);
}

static void need_dma(int mtty, struct scene *s)
{
    LAB_EQUAL(lab_mtty_dma(mtty, iova_of(0)), 0);
    if (memcmp(s->region->map, "MTTY-DMA-WRITE!!", 16) != 0)
        lab_skip("this kernel's mtty does no DMA (it needs the lab's patch)");
}

static void type1_with_mtty(void)
{
    struct scene s = {0};
    int container = -1, mtty = lab_open_by_group(lab_new_mtty(1), &container);
    bool unmapped = false;
    make_memory(&s);
    for (unsigned i = 0; i < ELEMENTS(layout); i++)
        lab_type1_map(container, memory_of(&s, i), layout[i].npages * 4096, layout[i].iova);
    need_dma(mtty, &s);
    track(&s, container, 0);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    LAB_CHECK(!tracker_is_blind(s.tracker));
    LAB_EQUAL(harvest(&s), 0);
    static const uint64_t pages[] = {0, 1, 63, 64, 511, 512, 700, 1023};
    for (size_t i = 0; i < ELEMENTS(pages); i++)
        LAB_EQUAL(lab_mtty_dma(mtty, iova_of(pages[i])), 0);
    expect_pages(&s, pages, ELEMENTS(pages));
    LAB_EQUAL(harvest(&s), 0);
    /* R6 on a real kernel: the last writes before an unmap arrive. */
    static const uint64_t last[] = {3, 400};
    for (size_t i = 0; i < ELEMENTS(last); i++)
        LAB_EQUAL(lab_mtty_dma(mtty, iova_of(last[i])), 0);
    LAB_OK(container_unmap(s.container, layout[0].iova, layout[0].npages * 4096, false, &unmapped, &s.e),
           &s.e);
    LAB_CHECK(unmapped);
    LAB_CHECK(lab_mtty_dma(mtty, iova_of(5)) < 0); /* it is out of the device's reach */
    expect_pages(&s, last, ELEMENTS(last));
    harvest_stop(&s.set);
    LAB_EQUAL(container_report(s.container, false, NULL, NULL, &s.e), -ESTALE);
    close(mtty);
    drop(&s);
    close(container);
}

static void type1_half_a_mapping(void)
{
    struct scene s = {0};
    int container = -1, mtty = lab_open_by_group(lab_new_mtty(1), &container);
    make_memory(&s);
    lab_type1_map(container, s.region->map, PAGES * 4096,
                  IOVA_BASE); /* one mapping, where migd is told two */
    LAB_OK(container_new(&s.container, "dma0", container, NULL, 0, 0, NULL, &s.e), &s.e);
    struct iova_mapping half = {IOVA_BASE, PAGES / 2 * 4096, s.region, 0, IOVA_WRITE};
    LAB_OK(container_map(s.container, &half, &s.e), &s.e);
    LAB_OK(tracker_new_container(&s.tracker, s.container, &s.e), &s.e);
    s.set = (struct harvest_set){&s.tracker, 1, &s.region, 1};
    LAB_EQUAL(harvest_start(&s.set, &s.e), -EINVAL);
    lab_note("%s", s.e.message);
    close(mtty);
    drop(&s);
    close(container);
}

static void type1_with_edu(void)
{
    struct scene s = {0};
    const char *sysfs = lab_edu(0);
    if (!sysfs)
        lab_skip("no edu device");
    int container = -1, edu = lab_open_by_group(sysfs, &container);
    make_memory(&s);
    for (unsigned i = 0; i < ELEMENTS(layout); i++)
        lab_type1_map(container, memory_of(&s, i), layout[i].npages * 4096, layout[i].iova);
    track(&s, container, 0);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    LAB_CHECK(tracker_is_blind(s.tracker));
    LAB_EQUAL(harvest(&s), PAGES);
    struct gate_finding f;
    bitmap_clear_all(s.region->dirty);
    LAB_OK(harvest_gate(&s.set, &f, &s.e), &s.e);
    LAB_CHECK(f.needs_digests);
    LAB_EQUAL(f.pages, 0);
    harvest_stop(&s.set);
    close(edu);
    drop(&s);
    close(container);
}

static int open_iommufd(uint32_t *ret_ioas)
{
    int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        lab_skip("this kernel has no iommufd");
    LAB_CHECK(iommufd_is(fd, NULL));
    LAB_EQUAL(iommufd_ioas_alloc(fd, NULL, ret_ioas), 0);
    return fd;
}

static void iommufd_with_edu(void)
{
    struct scene s = {0};
    const char *sysfs = lab_edu(0);
    uint32_t ioas, devid, hwpt;
    bool tracks = false, unmapped = false;
    if (!sysfs)
        lab_skip("no edu device");
    int fd = open_iommufd(&ioas), edu = lab_open_by_cdev(sysfs, fd, &devid);
    LAB_EQUAL(iommufd_device_tracks(fd, NULL, devid, &tracks), 0);
    if (!tracks)
        lab_skip("the IOMMU has no dirty bits");
    LAB_EQUAL(iommufd_hwpt_alloc_tracking(fd, NULL, devid, ioas, &hwpt), 0);
    LAB_EQUAL(lab_attach(edu, hwpt), 0);
    make_memory(&s);
    for (unsigned i = 0; i < ELEMENTS(layout); i++)
        LAB_EQUAL(iommufd_map(fd, NULL, ioas, memory_of(&s, i), layout[i].npages * 4096, layout[i].iova), 0);
    track(&s, fd, ioas); /* finds the HWPT by asking */
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    LAB_EQUAL(harvest(&s), 0);
    static const uint64_t pages[] = {1, 64, 511, 512, 1023};
    for (size_t i = 0; i < ELEMENTS(pages); i++)
        lab_edu_dma(edu, iova_of(pages[i]), 64);
    expect_pages(&s, pages, ELEMENTS(pages));
    LAB_EQUAL(harvest(&s), 0);
    static const uint64_t again[] = {64};
    lab_edu_dma(edu, iova_of(64), 64); /* a page that was cleared is seen again: the IOTLB was flushed */
    expect_pages(&s, again, 1);
    /* R6: read, then unmap. */
    static const uint64_t last[] = {7};
    lab_edu_dma(edu, iova_of(7), 64);
    LAB_OK(container_unmap(s.container, layout[0].iova, layout[0].npages * 4096, false, &unmapped, &s.e),
           &s.e);
    LAB_CHECK(unmapped);
    expect_pages(&s, last, 1);
    harvest_stop(&s.set);
    LAB_EQUAL(container_report(s.container, false, NULL, NULL, &s.e), -ESTALE);
    close(edu);
    drop(&s);
    close(fd);
}

/* An HWPT that the kernel made by itself does not track, and migd says so. */
static void iommufd_without_tracking(void)
{
    struct scene s = {0};
    const char *sysfs = lab_edu(0);
    uint32_t ioas, devid;
    if (!sysfs)
        lab_skip("no edu device");
    int fd = open_iommufd(&ioas), edu = lab_open_by_cdev(sysfs, fd, &devid);
    LAB_EQUAL(lab_attach(edu, ioas), 0);
    make_memory(&s);
    LAB_EQUAL(iommufd_map(fd, NULL, ioas, memory_of(&s, 0), layout[0].npages * 4096, layout[0].iova), 0);
    int r = container_new(&s.container, "dma0", fd, NULL, 0, ioas, NULL, &s.e);
    if (r == 0)
        r = container_start(s.container, &s.e);
    LAB_EQUAL(r, -EOPNOTSUPP);
    lab_note("%s", s.e.message);
    close(edu);
    drop(&s);
    close(fd);
}

/* R8: one bit of the IOMMU is as large as its entry. With the split option of the IOAS it is a page again. */
static void huge_entries(void)
{
    const char *sysfs = lab_edu(0);
    if (!sysfs)
        lab_skip("no edu device");
    int hugepages = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);
    LAB_CHECK(hugepages >= 0 && write(hugepages, "8", 1) == 1);
    close(hugepages);
    for (int split = 0; split < 2; split++) {
        struct scene s = {0};
        uint32_t ioas, devid, hwpt;
        bool tracks = false;
        int fd = open_iommufd(&ioas), edu = lab_open_by_cdev(sysfs, fd, &devid);
        LAB_EQUAL(iommufd_device_tracks(fd, NULL, devid, &tracks), 0);
        if (!tracks)
            lab_skip("the IOMMU has no dirty bits");
        if (split)
            LAB_EQUAL(iommufd_huge_pages(fd, NULL, ioas, false), 0);
        LAB_EQUAL(iommufd_hwpt_alloc_tracking(fd, NULL, devid, ioas, &hwpt), 0);
        LAB_EQUAL(lab_attach(edu, hwpt), 0);
        LAB_OK(region_new_made(&s.region, "ram", 4 << 20, 2 << 20, -1, &s.e), &s.e);
        struct iova_mapping m = {0x200000, 4 << 20, s.region, 0, IOVA_READ | IOVA_WRITE};
        LAB_EQUAL(iommufd_map(fd, NULL, ioas, s.region->map, m.size_bytes, m.iova), 0);
        LAB_OK(container_new(&s.container, "dma0", fd, NULL, 0, ioas, NULL, &s.e), &s.e);
        LAB_OK(container_map(s.container, &m, &s.e), &s.e);
        LAB_OK(tracker_new_container(&s.tracker, s.container, &s.e), &s.e);
        s.set = (struct harvest_set){&s.tracker, 1, &s.region, 1};
        LAB_OK(harvest_start(&s.set, &s.e), &s.e);
        lab_edu_dma(edu, m.iova + 700 * 4096, 64);
        LAB_EQUAL(harvest(&s), split ? 1 : 512);
        LAB_CHECK(bitmap_test(s.region->dirty, 700));
        LAB_EQUAL(harvest(&s), 0);
        harvest_stop(&s.set);
        close(edu);
        drop(&s);
        close(fd);
    }
}

/* What a read costs, clean and all dirty, for 256 MiB. An emulator's numbers; on real hardware the program
 * gives real ones. */
enum { COST_BYTES = 256 << 20, COST_READS = 8 };

static void note_cost(struct scene *s, const char *what)
{
    uint64_t best = UINT64_MAX, pages = 0;
    for (unsigned i = 0; i < COST_READS; i++) {
        bitmap_clear_all(s->region->dirty);
        uint64_t begun = now_usec();
        LAB_OK(harvest_run(&s->set, NULL, &s->e), &s->e);
        uint64_t took = now_usec() - begun;
        if (took < best) {
            best = took;
            pages = bitmap_count(s->region->dirty);
        }
    }
    lab_note("%s: %llu us for 256 MiB with %llu pages reported, %.1f ms per TiB", what,
             (unsigned long long)best, (unsigned long long)pages, (double)best * 4096 / 1000);
}

static void cost_of_reads(void)
{
    struct scene s = {0};
    struct iova_mapping m = {IOVA_BASE, COST_BYTES, NULL, 0, IOVA_READ | IOVA_WRITE};
    int container = -1, mtty = lab_open_by_group(lab_new_mtty(1), &container);
    LAB_OK(region_new_made(&s.region, "ram", COST_BYTES, 0, -1, &s.e), &s.e);
    m.region = s.region;
    lab_type1_map(container, s.region->map, m.size_bytes, m.iova);
    LAB_OK(container_new(&s.container, "dma0", container, NULL, 0, 0, NULL, &s.e), &s.e);
    LAB_OK(container_map(s.container, &m, &s.e), &s.e);
    LAB_OK(tracker_new_container(&s.tracker, s.container, &s.e), &s.e);
    s.set = (struct harvest_set){&s.tracker, 1, &s.region, 1};
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    note_cost(&s, "type1, mediated device");
    harvest_stop(&s.set);
    close(mtty);
    drop(&s);
    close(container);

    const char *sysfs = lab_edu(0);
    uint32_t ioas, devid, hwpt;
    bool tracks = false;
    if (!sysfs)
        return;
    int fd = open_iommufd(&ioas), edu = lab_open_by_cdev(sysfs, fd, &devid);
    LAB_EQUAL(iommufd_device_tracks(fd, NULL, devid, &tracks), 0);
    s = (struct scene){0};
    if (tracks) {
        LAB_EQUAL(iommufd_huge_pages(fd, NULL, ioas, false), 0);
        LAB_EQUAL(iommufd_hwpt_alloc_tracking(fd, NULL, devid, ioas, &hwpt), 0);
        LAB_EQUAL(lab_attach(edu, hwpt), 0);
        LAB_OK(region_new_made(&s.region, "ram", COST_BYTES, 0, -1, &s.e), &s.e);
        m = (struct iova_mapping){UINT64_C(0x100000), COST_BYTES, s.region, 0, IOVA_READ | IOVA_WRITE};
        LAB_EQUAL(iommufd_map(fd, NULL, ioas, s.region->map, m.size_bytes, m.iova), 0);
        LAB_OK(container_new(&s.container, "dma0", fd, NULL, 0, ioas, NULL, &s.e), &s.e);
        LAB_OK(container_map(s.container, &m, &s.e), &s.e);
        LAB_OK(tracker_new_container(&s.tracker, s.container, &s.e), &s.e);
        s.set = (struct harvest_set){&s.tracker, 1, &s.region, 1};
        LAB_OK(harvest_start(&s.set, &s.e), &s.e);
        note_cost(&s, "iommufd, entries of 4 KiB");
        harvest_stop(&s.set);
    }
    close(edu);
    drop(&s);
    close(fd);
}

static void device_log_with_mtty(void)
{
    struct scene s = {0};
    struct device *device = NULL;
    int container = -1, mtty = lab_open_by_group(lab_new_mtty(1), &container);
    make_memory(&s);
    for (unsigned i = 0; i < ELEMENTS(layout); i++)
        lab_type1_map(container, memory_of(&s, i), layout[i].npages * 4096, layout[i].iova);
    need_dma(mtty, &s);
    const struct kvfio_device_options o = {.fd = mtty, .gone_fd = -1};
    LAB_OK(kvfio_device_new(&device, "tty0", &o, &s.e), &s.e);
    if (!device->ops->info(device)->dirty_log)
        lab_skip("this kernel has no device logs");
    for (unsigned i = 0; i < ELEMENTS(layout); i++) {
        struct iova_mapping m = mapping(&s, i);
        LAB_OK(device->ops->dma_map(device, &m, &s.e), &s.e);
    }
    LAB_OK(tracker_new_device(&s.tracker, "tty0", device, 4096, &s.e), &s.e);
    s.set = (struct harvest_set){&s.tracker, 1, &s.region, 1};
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    harvest(&s); /* the page that need_dma wrote: the sample logs always */
    LAB_EQUAL(harvest(&s), 0);
    static const uint64_t pages[] = {0, 2, 511, 512, 900};
    for (size_t i = 0; i < ELEMENTS(pages); i++)
        LAB_EQUAL(lab_mtty_dma(mtty, iova_of(pages[i])), 0);
    expect_pages(&s, pages, ELEMENTS(pages));
    LAB_EQUAL(harvest(&s), 0);
    static const uint64_t last[] = {600};
    LAB_EQUAL(lab_mtty_dma(mtty, iova_of(600)), 0);
    LAB_OK(device->ops->dma_unmap(device, layout[1].iova, layout[1].npages * 4096, &s.e), &s.e);
    expect_pages(&s, last, 1);
    /* Mapped again while the log is on, inside what was announced: exact. Elsewhere: everything. */
    struct iova_mapping m = mapping(&s, 1);
    LAB_OK(device->ops->dma_map(device, &m, &s.e), &s.e);
    LAB_EQUAL(harvest(&s), 0);
    LAB_OK(device->ops->dma_unmap(device, m.iova, m.size_bytes, &s.e), &s.e);
    m.iova += 0x400000;
    LAB_OK(device->ops->dma_map(device, &m, &s.e), &s.e);
    LAB_EQUAL(harvest(&s), 512);
    harvest_stop(&s.set);
    close(mtty);
    tracker_free(s.tracker);
    s.tracker = NULL;
    device_unref(device);
    drop(&s);
    close(container);
}

int main(void)
{
    static const struct lab_case cases[] = {
        {"type1 container with mtty: exact bits, unmap with bitmap", type1_with_mtty},
        {"type1: half a mapping is refused in words", type1_half_a_mapping},
        {"type1 container with edu: recognised as knowing nothing", type1_with_edu},
        {"iommufd with edu: the IOMMU's dirty bits, read before unmap", iommufd_with_edu},
        {"iommufd: an HWPT without tracking is refused in words", iommufd_without_tracking},
        {"iommufd: entries of 2 MiB report 512 pages, split ones a page", huge_entries},
        {"what reading the bitmap costs", cost_of_reads},
        {"device log of mtty: exact bits, unmap, late mappings", device_log_with_mtty},
    };
    return lab_run(cases, ELEMENTS(cases));
}

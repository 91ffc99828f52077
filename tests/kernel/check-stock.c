/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Debian's own kernel offers, and what migd makes of it: containers and groups only, no iommufd, device
 * logs that can be turned on and never read. Runs inside the lab.
 */
#include "dirty/harvest.h"
#include "lab.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define IOVA UINT64_C(0x100000)
enum { PAGES = 512 };

static void no_iommufd(void)
{
    LAB_CHECK(access("/dev/vfio/vfio", F_OK) == 0);
    LAB_CHECK(access("/dev/iommu", F_OK) < 0);
    LAB_CHECK(access("/dev/vfio/devices", F_OK) < 0);
    int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    struct container *c = NULL;
    struct mig_error e = MIG_ERROR_INIT;
    /* A container without a group cannot be told from something else: the words must say so, not crash. */
    LAB_CHECK(container_new(&c, "dma0", fd, NULL, 0, 1, NULL, &e) < 0);
    lab_note("an IOAS in a type1 container: %s (%s)", e.message, e.hint);
    close(fd);
}

/* Both questions asked of the kernel directly. */
static void log_of_the_kernel(void)
{
    int container = -1, mtty = lab_open_by_group(lab_new_mtty(1), &container);
    struct {
        struct kvfio_feature head;
        struct kvfio_log_control control;
    } start = {.head = {.argsz = sizeof start, .flags = KVFIO_FEATURE_SET | KVFIO_FEATURE_LOG_START}};
    struct kvfio_log_range range = {IOVA, PAGES * 4096};
    start.control.page_size = 4096;
    start.control.num_ranges = 1;
    start.control.ranges = (uintptr_t)&range;
    LAB_EQUAL(kernel_ioctl(NULL, mtty, KVFIO_DEVICE_FEATURE, &start), 0);
    uint64_t words[PAGES / 64] = {0};
    struct {
        struct kvfio_feature head;
        struct kvfio_log_report report;
    } report = {.head = {.argsz = sizeof report, .flags = KVFIO_FEATURE_GET | KVFIO_FEATURE_LOG_REPORT}};
    report.report.iova = IOVA;
    report.report.length = PAGES * 4096;
    report.report.page_size = 4096;
    report.report.bitmap = (uintptr_t)words;
    LAB_EQUAL(kernel_ioctl(NULL, mtty, KVFIO_DEVICE_FEATURE, &report), -EOPNOTSUPP);
    close(mtty);
    close(container);
}

/* A log that cannot be read must never look clean: it is refused, or everything counts as written. */
static void log_as_a_tracker(void)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct region *region = NULL;
    struct device *device = NULL;
    struct tracker *tracker = NULL;
    int container = -1, mtty = lab_open_by_group(lab_new_mtty(1), &container);
    LAB_OK(region_new_made(&region, "ram", PAGES * 4096, 0, -1, &e), &e);
    lab_type1_map(container, region->map, PAGES * 4096, IOVA);
    const struct kvfio_device_options o = {.fd = mtty, .gone_fd = -1};
    LAB_OK(kvfio_device_new(&device, "tty0", &o, &e), &e);
    struct iova_mapping m = {IOVA, PAGES * 4096, region, 0, IOVA_READ | IOVA_WRITE};
    LAB_OK(device->ops->dma_map(device, &m, &e), &e);
    LAB_OK(tracker_new_device(&tracker, "tty0", device, 4096, &e), &e);
    struct harvest_set set = {&tracker, 1, &region, 1};
    int rc = harvest_start(&set, &e);
    if (rc < 0) {
        lab_note("refused: %s (%s)", e.message, e.hint);
        LAB_EQUAL(rc, -EOPNOTSUPP);
    } else {
        for (unsigned round = 0; round < 2; round++) {
            bitmap_clear_all(region->dirty);
            LAB_OK(harvest_run(&set, NULL, &e), &e);
            LAB_EQUAL(bitmap_count(region->dirty), PAGES);
        }
        harvest_stop(&set);
    }
    close(mtty);
    tracker_free(tracker);
    device_unref(device);
    region_unref(region);
    close(container);
}

/* The container's bits are what is left, and exact for a mediated device. */
static void type1_with_mtty(void)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct region *region = NULL;
    struct container *c = NULL;
    struct tracker *tracker = NULL;
    int container = -1, mtty = lab_open_by_group(lab_new_mtty(1), &container);
    LAB_OK(region_new_made(&region, "ram", PAGES * 4096, 0, -1, &e), &e);
    lab_type1_map(container, region->map, PAGES * 4096, IOVA);
    LAB_OK(container_new(&c, "dma0", container, NULL, 0, 0, NULL, &e), &e);
    struct iova_mapping m = {IOVA, PAGES * 4096, region, 0, IOVA_READ | IOVA_WRITE};
    LAB_OK(container_map(c, &m, &e), &e);
    LAB_OK(tracker_new_container(&tracker, c, &e), &e);
    struct harvest_set set = {&tracker, 1, &region, 1};
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA), 0);
    LAB_OK(harvest_start(&set, &e), &e);
    bitmap_clear_all(region->dirty);
    LAB_OK(harvest_run(&set, NULL, &e), &e);
    static const uint64_t pages[] = {0, 63, 64, 511};
    for (size_t i = 0; i < ELEMENTS(pages); i++)
        LAB_EQUAL(lab_mtty_dma(mtty, IOVA + pages[i] * 4096), 0);
    bitmap_clear_all(region->dirty);
    LAB_OK(harvest_run(&set, NULL, &e), &e);
    LAB_EQUAL(bitmap_count(region->dirty), ELEMENTS(pages));
    for (size_t i = 0; i < ELEMENTS(pages); i++)
        LAB_CHECK(bitmap_test(region->dirty, pages[i]));
    harvest_stop(&set);
    close(mtty);
    tracker_free(tracker);
    container_unref(c);
    region_unref(region);
    close(container);
}

int main(void)
{
    static const struct lab_case cases[] = {
        {"Debian's kernel: containers and groups, no iommufd", no_iommufd},
        {"Debian's kernel: a device log can be turned on and not read", log_of_the_kernel},
        {"Debian's kernel: a log that cannot be read is never clean", log_as_a_tracker},
        {"Debian's kernel: type1 with mtty, exact bits", type1_with_mtty},
    };
    return lab_run(cases, ELEMENTS(cases));
}

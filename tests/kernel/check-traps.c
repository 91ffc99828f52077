/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The traps of the kernel's trackers on a real kernel: containers that turn out to know nothing, tracking
 * that somebody else turns off, several address spaces over the same memory, and reads and starts that fail.
 * Runs inside the lab.
 */
#include "base/clock.h"
#include "dirty/harvest.h"
#include "lab.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include "vfio/iommufd-uapi.h"
#include "vfio/iommufd.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#define IOVA UINT64_C(0x100000)
enum { PAGES = 512, TRACKERS = 3 };

/* One region, and address spaces over it. */
struct scene {
    struct region *region;
    struct container *container[TRACKERS];
    struct tracker *tracker[TRACKERS];
    struct harvest_set set;
    struct mig_error e;
};

static struct iova_mapping whole(struct scene *s)
{
    return (struct iova_mapping){IOVA, s->region->size_bytes, s->region, 0, IOVA_READ | IOVA_WRITE};
}

static void begin(struct scene *s, uint64_t pages)
{
    LAB_OK(region_new_made(&s->region, "ram", pages * 4096, 0, -1, &s->e), &s->e);
    s->set = (struct harvest_set){s->tracker, 0, &s->region, 1};
}

static void track(struct scene *s, const char *name, int fd, uint32_t ioas)
{
    size_t n = s->set.ntrackers++;
    struct iova_mapping m = whole(s);
    LAB_OK(container_new(&s->container[n], name, fd, NULL, 0, ioas, NULL, &s->e), &s->e);
    LAB_OK(container_map(s->container[n], &m, &s->e), &s->e);
    LAB_OK(tracker_new_container(&s->tracker[n], s->container[n], &s->e), &s->e);
}

static uint64_t harvest(struct scene *s)
{
    bitmap_clear_all(s->region->dirty);
    LAB_OK(harvest_run(&s->set, NULL, &s->e), &s->e);
    return bitmap_count(s->region->dirty);
}

static void end(struct scene *s)
{
    harvest_stop(&s->set);
    for (unsigned i = 0; i < TRACKERS; i++) {
        tracker_free(s->tracker[i]);
        container_unref(s->container[i]);
    }
    region_unref(s->region);
}

/* A type1 container with an mtty that DMAs, and the scene's memory mapped into it. */
static int open_mtty(struct scene *s, int *container)
{
    *container = -1;
    int mtty = lab_open_by_group(lab_new_mtty(1), container);
    lab_type1_map(*container, s->region->map, s->region->size_bytes, IOVA);
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA), 0);
    if (memcmp(s->region->map, "MTTY-DMA-WRITE!!", 16) != 0)
        lab_skip("this kernel's mtty does no DMA (it needs the lab's patch)");
    return mtty;
}

static int open_iommufd(uint32_t *ret_ioas)
{
    int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        lab_skip("this kernel has no iommufd");
    LAB_EQUAL(iommufd_ioas_alloc(fd, NULL, ret_ioas), 0);
    return fd;
}

/* The n-th edu with an HWPT of its own that tracks. */
static int open_edu(int iommufd, uint32_t ioas, unsigned n, uint32_t *ret_hwpt)
{
    uint32_t devid;
    bool tracks = false;
    const char *sysfs = lab_edu(n);
    if (!sysfs)
        lab_skip("there is no edu device %u", n);
    int edu = lab_open_by_cdev(sysfs, iommufd, &devid);
    LAB_EQUAL(iommufd_device_tracks(iommufd, NULL, devid, &tracks), 0);
    if (!tracks)
        lab_skip("the IOMMU has no dirty bits");
    LAB_EQUAL(iommufd_hwpt_alloc_tracking(iommufd, NULL, devid, ioas, ret_hwpt), 0);
    LAB_EQUAL(lab_attach(edu, *ret_hwpt), 0);
    return edu;
}

static void map_iommufd(struct scene *s, int iommufd, uint32_t ioas)
{
    LAB_EQUAL(iommufd_map(iommufd, NULL, ioas, s->region->map, s->region->size_bytes, IOVA), 0);
}

/* ---- type1 ---- */

/* Exact with a mediated device; blind as soon as a hardware device joins; exact again when it has left. */
static void hardware_joins(void)
{
    struct scene s = {0};
    int container;
    const char *sysfs = lab_edu(0);
    if (!sysfs)
        lab_skip("no edu device");
    begin(&s, PAGES);
    int mtty = open_mtty(&s, &container);
    track(&s, "dma0", container, 0);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    LAB_CHECK(!tracker_is_blind(s.tracker[0]));
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 7 * 4096), 0);
    LAB_EQUAL(harvest(&s), 1);
    int edu = lab_open_by_group(sysfs, &container);
    LAB_EQUAL(harvest(&s), PAGES);
    LAB_CHECK(tracker_is_blind(s.tracker[0]));
    struct gate_finding f;
    bitmap_clear_all(s.region->dirty);
    LAB_OK(harvest_gate(&s.set, &f, &s.e), &s.e);
    LAB_CHECK(f.needs_digests && f.pages == 0);
    LAB_EQUAL(harvest(&s), PAGES);
    close(edu);                    /* the group leaves with its last device */
    LAB_EQUAL(harvest(&s), PAGES); /* the kernel says once more everything: edu may have written it */
    harvest(&s);
    LAB_CHECK(!tracker_is_blind(s.tracker[0]));
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 8 * 4096), 0);
    LAB_EQUAL(harvest(&s), 1);
    LAB_CHECK(bitmap_test(s.region->dirty, 8));
    end(&s);
    close(mtty);
    close(container);
}

/* A workload that really wrote every page, before the start and later, is not taken for a blind container. */
static void everything_is_written(void)
{
    struct scene s = {0};
    int container;
    begin(&s, 64);
    int mtty = open_mtty(&s, &container);
    track(&s, "dma0", container, 0);
    for (unsigned turn = 0; turn < 2; turn++) {
        for (uint64_t i = 0; i < 64; i++)
            LAB_EQUAL(lab_mtty_dma(mtty, IOVA + i * 4096), 0);
        if (turn == 0)
            LAB_OK(harvest_start(&s.set, &s.e), &s.e);
        else
            LAB_EQUAL(harvest(&s), 64);
        LAB_CHECK(!tracker_is_blind(s.tracker[0]));
    }
    LAB_EQUAL(harvest(&s), 0);
    end(&s);
    close(mtty);
    close(container);
}

static void type1_turned_off(void)
{
    struct scene s = {0};
    int container;
    begin(&s, PAGES);
    int mtty = open_mtty(&s, &container);
    track(&s, "dma0", container, 0);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    struct kvfio_dirty off = {.argsz = sizeof off, .flags = KVFIO_DIRTY_STOP};
    LAB_EQUAL(kernel_ioctl(NULL, container, KVFIO_IOMMU_DIRTY, &off), 0);
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 9 * 4096), 0); /* nobody counts it */
    LAB_EQUAL(harvest(&s), PAGES);                     /* so everything counts as written */
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 10 * 4096), 0);
    LAB_EQUAL(harvest(&s), 1);
    /* At the gate there is nothing to be put right. */
    struct gate_finding f;
    LAB_EQUAL(kernel_ioctl(NULL, container, KVFIO_IOMMU_DIRTY, &off), 0);
    bitmap_clear_all(s.region->dirty);
    LAB_CHECK(harvest_gate(&s.set, &f, &s.e) < 0);
    lab_note("%s", s.e.message);
    end(&s);
    close(mtty);
    close(container);
}

/* ---- iommufd ---- */

/* With tracking off the kernel answers with a clean bitmap, whoever turned it off, and turning it on says
 * nothing of how it was, but clears: so migd goes by its own word, and sees to it that no bits have two
 * readers. */
static void iommufd_turned_off(void)
{
    struct scene s = {0};
    struct container *again;
    uint32_t ioas, hwpt;
    int fd = open_iommufd(&ioas), edu = open_edu(fd, ioas, 0, &hwpt);
    uint64_t words[PAGES / 64] __attribute__((aligned(4096))) = {0};
    begin(&s, PAGES);
    map_iommufd(&s, fd, ioas);
    track(&s, "dma0", fd, ioas);
    LAB_EQUAL(container_report(s.container[0], false, NULL, NULL, &s.e), -ESTALE);
    mig_error_clear(&s.e);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    LAB_OK(container_new(&again, "dma1", fd, &hwpt, 1, ioas, NULL, &s.e), &s.e);
    LAB_EQUAL(container_start(again, &s.e), -EBUSY);
    lab_note("%s", s.e.message);
    mig_error_clear(&s.e);
    container_unref(again);
    lab_edu_dma(edu, IOVA + 3 * 4096, 64);
    LAB_EQUAL(harvest(&s), 1); /* what was refused turned nothing off */
    harvest_stop(&s.set);
    LAB_EQUAL(container_report(s.container[0], false, NULL, NULL, &s.e), -ESTALE);
    mig_error_clear(&s.e);
    lab_edu_dma(edu, IOVA + 4 * 4096, 64);
    LAB_EQUAL(iommufd_get_dirty(fd, NULL, hwpt, IOVA, PAGES * 4096, 4096, false, words), 0);
    for (size_t i = 0; i < ELEMENTS(words); i++)
        LAB_EQUAL(words[i], 0);
    for (unsigned i = 0; i < 2; i++) /* no answer tells the first time from the second */
        LAB_EQUAL(iommufd_set_tracking(fd, NULL, hwpt, true), 0);
    LAB_EQUAL(iommufd_set_tracking(fd, NULL, hwpt, false), 0);
    close(edu);
    end(&s);
    close(fd);
}

/* An iommufd that plays the container of a group answers everything but the question which pages were
 * written: it is told as what it is, and no tracker takes it for a clean one. */
static void plays_type1(void)
{
    struct scene s = {0};
    const char *sysfs = lab_edu(0);
    if (!sysfs)
        lab_skip("no edu device");
    int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        lab_skip("this kernel has no iommufd");
    LAB_EQUAL(iommufd_container_ioas(fd, NULL), 0);
    begin(&s, PAGES);
    LAB_CHECK(container_new(&s.container[0], "dma0", fd, NULL, 0, 0, NULL, &s.e) < 0);
    LAB_CHECK(strstr(s.e.message, "type1") == NULL);
    mig_error_clear(&s.e);
    int edu = lab_open_by_group_of_iommufd(sysfs, fd);
    uint32_t ioas = iommufd_container_ioas(fd, NULL);
    LAB_CHECK(ioas != 0);
    lab_type1_map(fd, s.region->map, s.region->size_bytes, IOVA);
    lab_edu_dma(edu, IOVA + 3 * 4096, 64);
    LAB_CHECK(container_new(&s.container[0], "dma0", fd, NULL, 0, 0, NULL, &s.e) < 0);
    LAB_EQUAL(s.e.code, MIG_ERR_NOT_SUPPORTED);
    LAB_CHECK(strstr(s.e.message, "plays a type1 container") != NULL);
    lab_note("%s (%s)", s.e.message, s.e.hint);
    mig_error_clear(&s.e);
    LAB_EQUAL(container_new_type1(&s.container[0], "dma0", fd, NULL, &s.e), -EOPNOTSUPP);
    mig_error_clear(&s.e);
    close(edu);
    end(&s);
    close(fd);
}

/* Two devices with an HWPT each on one IOAS: each HWPT has the bits of its device only. */
static void two_hwpts(void)
{
    struct scene s = {0};
    uint32_t ioas, hwpt[2];
    int fd = open_iommufd(&ioas), edu[2];
    const uint32_t *found;
    for (unsigned i = 0; i < 2; i++)
        edu[i] = open_edu(fd, ioas, i, &hwpt[i]);
    LAB_CHECK(hwpt[0] != hwpt[1]);
    begin(&s, PAGES);
    map_iommufd(&s, fd, ioas);
    track(&s, "dma0", fd, ioas);
    LAB_EQUAL(container_hwpts(s.container[0], &found), 2);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    lab_edu_dma(edu[0], IOVA + 3 * 4096, 64);
    lab_edu_dma(edu[1], IOVA + 5 * 4096, 64);
    LAB_EQUAL(harvest(&s), 2);
    LAB_CHECK(bitmap_test(s.region->dirty, 3) && bitmap_test(s.region->dirty, 5));
    LAB_EQUAL(harvest(&s), 0);
    lab_edu_dma(edu[0], IOVA + 9 * 4096, 64);
    lab_edu_dma(edu[1], IOVA + 9 * 4096, 64); /* the same page by both */
    LAB_EQUAL(harvest(&s), 1);
    /* The last bits of both go with the mapping. */
    lab_edu_dma(edu[0], IOVA + 11 * 4096, 64);
    lab_edu_dma(edu[1], IOVA + 12 * 4096, 64);
    LAB_OK(container_unmap(s.container[0], IOVA, PAGES * 4096, false, NULL, &s.e), &s.e);
    LAB_EQUAL(harvest(&s), 2);
    for (unsigned i = 0; i < 2; i++)
        close(edu[i]);
    end(&s);
    close(fd);
}

/* ---- several trackers over the same memory ---- */

static void mixed(void)
{
    struct scene s = {0};
    uint32_t ioas, hwpt;
    int container, fd = open_iommufd(&ioas), edu = open_edu(fd, ioas, 0, &hwpt);
    begin(&s, PAGES);
    int mtty = open_mtty(&s, &container);
    map_iommufd(&s, fd, ioas);
    track(&s, "dma", fd, ioas);
    track(&s, "dma-tty", container, 0);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    lab_edu_dma(edu, IOVA + 3 * 4096, 64);
    lab_edu_dma(edu, IOVA + 4 * 4096, 64);
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 4 * 4096), 0);
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 5 * 4096), 0);
    LAB_EQUAL(harvest(&s), 3);
    LAB_EQUAL(s.tracker[0]->counters.pages_reported, 2);
    LAB_EQUAL(s.tracker[0]->counters.pages_first, 2);
    LAB_EQUAL(s.tracker[1]->counters.pages_reported, 2);
    LAB_EQUAL(s.tracker[1]->counters.pages_first, 1);
    LAB_EQUAL(harvest(&s), 0);
    /* The gate tells them apart. */
    struct gate_finding f;
    bitmap_clear_all(s.region->dirty);
    LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 6 * 4096), 0);
    LAB_OK(harvest_gate(&s.set, &f, &s.e), &s.e);
    LAB_EQUAL(f.pages, 1);
    LAB_CHECK(f.range[0].tracker == s.tracker[1]);
    /* A device that nothing tracks: everything, at every harvest, and digests at the gate. */
    LAB_OK(tracker_new_all(&s.tracker[2], "gpu0", "gpu0", &s.region, 1, &s.e), &s.e);
    s.set.ntrackers = 3;
    LAB_OK(s.tracker[2]->ops->start(s.tracker[2], &s.e), &s.e);
    for (unsigned i = 0; i < 2; i++)
        LAB_EQUAL(harvest(&s), PAGES);
    bitmap_clear_all(s.region->dirty);
    LAB_OK(harvest_gate(&s.set, &f, &s.e), &s.e);
    LAB_CHECK(f.needs_digests && f.pages == 0);
    end(&s);
    close(mtty);
    close(edu);
    close(container);
    close(fd);
}

/* ---- the device's own log ---- */

enum { LOG_PIECES = 300 };

/* More ranges than the kernel takes in one START, at a page size of the device's choice. */
static void log_of_many_ranges(void)
{
    struct scene s = {0};
    int container;
    struct device *device = NULL;
    begin(&s, PAGES * 2);
    int mtty = open_mtty(&s, &container);
    const struct kvfio_device_options o = {.fd = mtty, .gone_fd = -1};
    LAB_OK(kvfio_device_new(&device, "tty0", &o, &s.e), &s.e);
    if (!device->ops->info(device)->dirty_log)
        lab_skip("this kernel has no device logs");
    for (uint64_t i = 0; i < LOG_PIECES; i++) {
        struct iova_mapping m = {IOVA + i * 3 * 4096, 2 * 4096, s.region, i * 3 * 4096,
                                 IOVA_READ | IOVA_WRITE};
        LAB_OK(device->ops->dma_map(device, &m, &s.e), &s.e);
    }
    for (uint64_t wish = 4096; wish <= 65536; wish *= 16) {
        LAB_OK(tracker_new_device(&s.tracker[0], "tty0", device, wish, &s.e), &s.e);
        s.set.ntrackers = 1;
        LAB_OK(harvest_start(&s.set, &s.e), &s.e);
        harvest(&s); /* the sample logs always */
        LAB_EQUAL(harvest(&s), 0);
        static const uint64_t pieces[] = {0, 17, 255, 256, 299};
        for (size_t i = 0; i < ELEMENTS(pieces); i++)
            LAB_EQUAL(lab_mtty_dma(mtty, IOVA + pieces[i] * 3 * 4096 + 4096), 0);
        LAB_EQUAL(lab_mtty_dma(mtty, IOVA + 2 * 4096), 0); /* between two mappings: not migd's memory */
        uint64_t found = harvest(&s);
        for (size_t i = 0; i < ELEMENTS(pieces); i++)
            LAB_CHECK(bitmap_test(s.region->dirty, pieces[i] * 3 + 1));
        lab_note("wish %llu, choice %llu: %llu pages for 5", (unsigned long long)wish,
                 (unsigned long long)s.tracker[0]->granularity_bytes, (unsigned long long)found);
        LAB_CHECK(wish == 4096 ? found == 5 : found >= 5 && found <= 5 * 16);
        LAB_EQUAL(harvest(&s), 0);
        harvest_stop(&s.set);
        s.tracker[0] = tracker_free(s.tracker[0]);
        s.set.ntrackers = 0;
    }
    device_unref(device);
    end(&s);
    close(mtty);
    close(container);
}

/* ---- what fails ---- */

static bool put(const char *file, const char *text)
{
    char path[80];
    snprintf(path, sizeof path, "/sys/kernel/debug/fail_iommufd/%s", file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close_fd(&fd);
    return done;
}

/* The kernel fails the next `times` requests to an iommufd. */
static void fail_next(const char *times)
{
    mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
    if (!put("times", "0"))
        lab_skip("this kernel cannot be told to fail (FAULT_INJECTION, IOMMUFD_TEST)");
    LAB_CHECK(put("probability", "100") && put("verbose", "0") && put("times", times));
}

static void injected_faults(void)
{
    struct scene s = {0};
    uint32_t ioas, hwpt;
    int fd = open_iommufd(&ioas), edu = open_edu(fd, ioas, 0, &hwpt);
    begin(&s, PAGES);
    map_iommufd(&s, fd, ioas);
    track(&s, "dma0", fd, ioas);
    fail_next("1");
    LAB_CHECK(harvest_start(&s.set, &s.e) < 0);
    lab_note("start: %s", s.e.message);
    LAB_CHECK(!s.container[0]->tracking && !s.tracker[0]->started);
    mig_error_clear(&s.e);
    LAB_OK(harvest_start(&s.set, &s.e), &s.e);
    lab_edu_dma(edu, IOVA + 3 * 4096, 64);
    fail_next("1");
    LAB_EQUAL(harvest(&s), PAGES); /* all of it counts as written, that page too */
    LAB_EQUAL(harvest(&s), 1);     /* its bit was not lost */
    LAB_EQUAL(harvest(&s), 0);
    struct gate_finding f;
    bitmap_clear_all(s.region->dirty);
    fail_next("1");
    LAB_CHECK(harvest_gate(&s.set, &f, &s.e) < 0);
    lab_note("gate: %s", s.e.message);
    mig_error_clear(&s.e);
    /* A failing read at an unmap loses nothing either. */
    lab_edu_dma(edu, IOVA + 5 * 4096, 64);
    fail_next("1");
    LAB_OK(container_unmap(s.container[0], IOVA, PAGES * 4096, false, NULL, &s.e), &s.e);
    LAB_EQUAL(harvest(&s), PAGES);
    fail_next("0");
    close(edu);
    end(&s);
    close(fd);
}

int main(void)
{
    static const struct lab_case cases[] = {
        {"type1: a hardware device joins a container of mediated ones, and leaves it", hardware_joins},
        {"type1: a workload that wrote everything is not taken for a blind container", everything_is_written},
        {"type1: somebody else turns tracking off", type1_turned_off},
        {"iommufd: tracking that is off is an error, and no bits have two readers", iommufd_turned_off},
        {"iommufd: one that plays a type1 container knows nothing, and is told as that", plays_type1},
        {"iommufd: two devices with an HWPT each on one IOAS", two_hwpts},
        {"type1, iommufd and an untracked device over the same memory", mixed},
        {"device log: more mappings than ranges are accepted, and a wish for larger pages",
         log_of_many_ranges},
        {"iommufd: requests that the kernel fails on order", injected_faults},
    };
    return lab_run(cases, ELEMENTS(cases));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that migd opens by itself on a real kernel: what it answers to the order of calls that a fake plays
 * in the unit tests, and that the bits of what was opened are exact. Runs inside the lab.
 */
#include "base/finding.h"
#include "dirty/harvest.h"
#include "domain/kernel-devices.h"
#include "domain/opened.h"
#include "lab.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include "vfio/iommufd-uapi.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define IOVA UINT64_C(0x200000)
enum { PAGES = 1024 };

/* A domain with 4 MiB of memory at one IOVA. */
struct scene {
    struct domain *d;
    struct region *region;
    struct mig_error e;
    unsigned nfds;
};

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static struct scene begin(uint64_t hugepage_bytes)
{
    struct scene s = {.nfds = count_fds()};
    const uint64_t iova = IOVA;
    LAB_OK(domain_new(&s.d, "demo", false, &s.e), &s.e);
    LAB_OK(region_new_made(&s.region, "ram0", PAGES * 4096, hugepage_bytes, -1, &s.e), &s.e);
    LAB_OK(domain_add_memory(s.d, s.region, &iova, 1, &s.e), &s.e);
    return s;
}

static void end(struct scene *s)
{
    domain_unref(s->d);
    region_unref(s->region);
    LAB_EQUAL(count_fds(), s->nfds);
}

static const char *address_of(const char *sysfs)
{
    if (!sysfs)
        lab_skip("no such device");
    return strrchr(sysfs, '/') + 1;
}

static void need_iommufd(void)
{
    if (!open_has_iommufd(NULL))
        lab_skip("this kernel has no iommufd");
}

static struct domain_open wish(struct scene *s, const char *name, const char *address)
{
    struct domain_open o = {.domain = s->d, .interface = DOMAIN_INTERFACE_IOMMUFD, .with_state = true};
    snprintf(o.name, sizeof o.name, "%s", name);
    snprintf(o.address, sizeof o.address, "%s", address);
    snprintf(o.container, sizeof o.container, "dma");
    o.wanted.automap = o.wanted.use_precopy = o.wanted.tracker_auto = true;
    o.wanted.log_page_bytes = 4096;
    return o;
}

/* The device's descriptor, which the domain has. */
static struct domain_opened *opened(struct scene *s, struct domain_open *o)
{
    struct domain_opened *got = NULL;
    s->e = MIG_ERROR_INIT;
    LAB_OK(domain_open_check(o, &s->e), &s->e);
    LAB_OK(domain_open(o, &s->e), &s->e);
    LAB_OK(domain_insert_opened(o, &got, &s->e), &s->e);
    domain_open_clear(o);
    return got;
}

static void refused(struct scene *s, struct domain_open *o, const char *code)
{
    char tail[80];
    unsigned nfds = count_fds();
    s->e = MIG_ERROR_INIT;
    int r = domain_open_check(o, &s->e);
    if (r == 0)
        r = domain_open(o, &s->e);
    LAB_CHECK(r < 0);
    snprintf(tail, sizeof tail, "(migctl explain %s)", code);
    if (!strstr(s->e.hint, tail))
        lab_fail(__FILE__, __LINE__, "not %s: %s (%s)", code, s->e.message, s->e.hint);
    lab_note("%s (%s)", s->e.message, s->e.hint);
    LAB_EQUAL(count_fds(), nfds);
}

static struct harvest_set set_of(struct scene *s)
{
    return (struct harvest_set){s->d->trackers, s->d->ntrackers, &s->region, 1};
}

static uint64_t harvest(struct scene *s)
{
    struct harvest_set set = set_of(s);
    bitmap_clear_all(s->region->dirty);
    LAB_OK(harvest_run(&set, NULL, &s->e), &s->e);
    return bitmap_count(s->region->dirty);
}

static void start(struct scene *s)
{
    struct harvest_set set = set_of(s);
    LAB_OK(harvest_start(&set, &s->e), &s->e);
    harvest(s);
}

static void stop(struct scene *s)
{
    struct harvest_set set = set_of(s);
    harvest_stop(&set);
}

/* The real kernel, and how often it mapped a file. */
static unsigned file_maps;

static int counting_ioctl(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    int r = kernel_calls_real.ioctl(&kernel_calls_real, fd, request, arg);
    file_maps += request == KIOFD_IOAS_MAP_FILE && r == 0;
    return r;
}

static const struct kernel_calls counting = {.ioctl = counting_ioctl};
static const struct open_places counted = {.calls = &counting};

/* Both devices of one domain, in one IOAS, mapped by migd from the file: exact, each by its own tracker. */
static void iommufd_mapped_by_migd(void)
{
    need_iommufd();
    struct scene s = begin(0);
    struct domain_open edu = wish(&s, "edu0", address_of(lab_edu(0))),
                       tty = wish(&s, "tty0", address_of(lab_new_mtty(1)));
    edu.with_state = false;
    edu.map_memory = OPEN_YES;
    edu.places = tty.places = &counted;
    file_maps = 0;
    struct domain_opened o = *opened(&s, &edu), t = *opened(&s, &tty);
    LAB_EQUAL(file_maps, 1); /* a kernel with iommufd in the lab has it */
    if (!o.device->tracked)
        lab_skip("the IOMMU has no dirty bits");
    LAB_CHECK(strcmp(o.tracker, "container") == 0 && strcmp(t.tracker, "device") == 0);
    LAB_CHECK(o.device->space == t.device->space && o.device->hwpt > 0 && t.device->hwpt == 0);
    LAB_EQUAL(s.d->ndevices, 1);
    LAB_EQUAL(s.d->ntrackers, 2);
    start(&s);
    LAB_EQUAL(harvest(&s), 0);
    lab_edu_dma(o.device->fd, IOVA + 5 * 4096, 64);
    lab_edu_dma(o.device->fd, IOVA + 1023 * 4096, 64);
    LAB_EQUAL(lab_mtty_dma(t.device->fd, IOVA + 77 * 4096), 0);
    LAB_CHECK(memcmp(s.region->map + 77 * 4096, "MTTY-DMA-WRITE!!", 16) == 0);
    LAB_EQUAL(harvest(&s), 3);
    LAB_CHECK(bitmap_test(s.region->dirty, 5) && bitmap_test(s.region->dirty, 77) &&
              bitmap_test(s.region->dirty, 1023));
    LAB_EQUAL(harvest(&s), 0);
    stop(&s);
    /* What is registered later is mapped, too, and unmapped by a word. */
    struct region *more;
    const uint64_t iova = UINT64_C(0x4000000);
    bool unmapped = false;
    LAB_OK(region_new_made(&more, "ram1", 64 * 4096, 0, -1, &s.e), &s.e);
    LAB_OK(domain_add_memory(s.d, more, &iova, 1, &s.e), &s.e);
    memset(more->map, 0x5a, 4096);
    lab_edu_dma(o.device->fd, iova, 64);
    LAB_CHECK(more->map[0] != 0x5a || more->map[1] != 0x5a);
    LAB_OK(container_unmap(domain_find_container(s.d, "dma"), iova, 64 * 4096, false, &unmapped, &s.e), &s.e);
    LAB_CHECK(unmapped);
    region_unref(more);
    end(&s);
}

/* By group: what mtty writes is exact; of edu everything counts as written. */
static void legacy(void)
{
    struct scene s = begin(0);
    struct domain_open edu = wish(&s, "edu0", address_of(lab_edu(0))),
                       tty = wish(&s, "tty0", address_of(lab_new_mtty(1)));
    edu.interface = tty.interface = DOMAIN_INTERFACE_LEGACY;
    edu.with_state = false;
    edu.map_memory = tty.map_memory = OPEN_YES;
    tty.wanted.tracker_auto = false;
    tty.wanted.tracker_container = true;
    snprintf(tty.container, sizeof tty.container, "dma-tty");
    struct domain_opened t = *opened(&s, &tty);
    LAB_CHECK(t.device->group_fd >= 0);
    start(&s);
    LAB_EQUAL(harvest(&s), 0);
    LAB_EQUAL(lab_mtty_dma(t.device->fd, IOVA + 9 * 4096), 0);
    LAB_EQUAL(harvest(&s), 1);
    LAB_CHECK(bitmap_test(s.region->dirty, 9));
    stop(&s);
    struct domain_opened o = *opened(&s, &edu);
    memset(s.region->map, 0x5a, 4096);
    lab_edu_dma(o.device->fd, IOVA, 64);
    LAB_CHECK(s.region->map[0] != 0x5a || s.region->map[1] != 0x5a);
    start(&s);
    LAB_EQUAL(harvest(&s), PAGES);
    stop(&s);
    end(&s);
}

/* R8: one bit is an entry of the IOMMU. */
static void split(void)
{
    need_iommufd();
    int hugepages = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);
    LAB_CHECK(hugepages >= 0 && write(hugepages, "8", 1) == 1);
    close(hugepages);
    for (int on = 0; on < 2; on++) {
        struct scene s = begin(2 << 20);
        struct domain_open edu = wish(&s, "edu0", address_of(lab_edu(0)));
        edu.with_state = false;
        edu.map_memory = OPEN_YES;
        edu.split = on ? OPEN_YES : OPEN_NO;
        struct domain_opened o = *opened(&s, &edu);
        if (!o.device->tracked)
            lab_skip("the IOMMU has no dirty bits");
        start(&s);
        lab_edu_dma(o.device->fd, IOVA + 700 * 4096, 64);
        LAB_EQUAL(harvest(&s), on ? 1 : 512);
        LAB_CHECK(bitmap_test(s.region->dirty, 700));
        LAB_EQUAL(harvest(&s), 0);
        stop(&s);
        struct domain_open late = wish(&s, "edu1", address_of(lab_edu(1)));
        late.split = OPEN_YES;
        late.with_state = false;
        if (!on)
            refused(&s, &late, "container-no-split");
        end(&s);
    }
}

/* The bits of both are OR-ed, whichever HWPT they are in. */
static void two_hwpts(void)
{
    need_iommufd();
    if (!lab_edu(1))
        lab_skip("there is one edu only");
    for (int own = 0; own < 2; own++) {
        struct scene s = begin(0);
        struct domain_open first = wish(&s, "edu0", address_of(lab_edu(0))),
                           second = wish(&s, "edu1", address_of(lab_edu(1)));
        first.with_state = second.with_state = false;
        first.map_memory = OPEN_YES;
        second.options.own_hwpt = own;
        struct domain_opened a = *opened(&s, &first), b = *opened(&s, &second);
        if (!a.device->tracked)
            lab_skip("the IOMMU has no dirty bits");
        LAB_EQUAL(a.device->space->nhwpts, own ? 2 : 1);
        LAB_EQUAL(a.device->hwpt != b.device->hwpt, own);
        start(&s);
        lab_edu_dma(a.device->fd, IOVA + 1 * 4096, 64);
        lab_edu_dma(b.device->fd, IOVA + 2 * 4096, 64);
        LAB_EQUAL(harvest(&s), 2);
        LAB_CHECK(bitmap_test(s.region->dirty, 1) && bitmap_test(s.region->dirty, 2));
        LAB_EQUAL(harvest(&s), 0);
        stop(&s);
        end(&s);
    }
}

static void refusals(void)
{
    struct scene s = begin(0);
    const char *tty = address_of(lab_new_mtty(1));
    struct domain_open o = wish(&s, "tty0", tty);
    if (open_has_iommufd(NULL)) {
        o.wanted.tracker_auto = false;
        o.wanted.tracker_container = true;
        refused(&s, &o, "device-mdev-untracked");
        o = wish(&s, "tty0", tty);
        o.options.tracking = OPEN_YES;
        refused(&s, &o, "iommu-no-dirty-tracking");
    }
    /* Taken: by this very process, and by its group. */
    int container = -1, device = lab_open_by_group(lab_new_mtty(1), &container);
    struct open_space *other;
    struct open_device *theirs;
    struct open_target t;
    const struct open_device_options options = {OPEN_AS_POSSIBLE, false};
    LAB_OK(open_target_find(&t, "tty1", tty, NULL, &s.e), &s.e);
    LAB_OK(open_space_new(&other, "other", false, false, NULL, &s.e), &s.e);
    LAB_OK(open_device_new(&theirs, other, "tty1", &t, &options, &s.e), &s.e);
    o = wish(&s, "tty0", tty);
    o.interface = DOMAIN_INTERFACE_LEGACY;
    refused(&s, &o, "device-busy");
    if (open_has_iommufd(NULL)) {
        o.interface = DOMAIN_INTERFACE_IOMMUFD;
        refused(&s, &o, "device-busy");
    }
    open_device_unref(theirs);
    open_space_unref(other);
    close(device);
    close(container);
    /* The host's bridge is no device of ours. */
    o = wish(&s, "bridge", "0000:00:00.0");
    refused(&s, &o, "device-not-vfio");
    o = wish(&s, "none", "0000:77:00.0");
    refused(&s, &o, "device-not-found");
    /* Reserved for interrupts. */
    struct region *r;
    const uint64_t iova = UINT64_C(0xfee00000);
    LAB_OK(region_new_made(&r, "msi", 4096, 0, -1, &s.e), &s.e);
    LAB_OK(domain_add_memory(s.d, r, &iova, 1, &s.e), &s.e);
    o = wish(&s, "edu0", address_of(lab_edu(0)));
    o.with_state = false;
    o.map_memory = OPEN_YES;
    o.interface = DOMAIN_INTERFACE_AUTO;
    refused(&s, &o, "mapping-refused");
    region_unref(r);
    end(&s);
}

int main(void)
{
    static const struct lab_case cases[] = {
        {"opened by iommufd, mapped by migd: exact bits of edu and mtty on one IOAS", iommufd_mapped_by_migd},
        {"opened by group and container: mtty exact, edu everything", legacy},
        {"opened with split: a page, and without: 512 pages of a 2 MiB entry", split},
        {"two devices on one IOAS, with one HWPT and with two", two_hwpts},
        {"what is refused, and in which words", refusals},
    };
    return lab_run(cases, ELEMENTS(cases));
}

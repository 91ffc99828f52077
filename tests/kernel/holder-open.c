/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that has migd open its devices. It maps its memory with the descriptors that it gets, unless migd
 * does; and when it was killed its successor gets the same ones, takes away what the dead one mapped, and
 * goes on.
 */
#include "holder.h"
#include "dirty/harvest.h"
#include "lab.h"
#include "migd-bus.h"
#include "vfio/container.h"
#include "vfio/iommufd.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct answer {
    int device, iommufd, container, group;
    uint32_t ioas, hwpt, devid;
    bool again;
};

static void read_fds(sd_bus_message *m, struct answer *a)
{
    const char *key;
    int fd;
    LAB_CHECK(sd_bus_message_enter_container(m, 'a', "{sh}") >= 0);
    while (sd_bus_message_read(m, "{sh}", &key, &fd) > 0) {
        int *to = strcmp(key, "device") == 0      ? &a->device
                  : strcmp(key, "iommufd") == 0   ? &a->iommufd
                  : strcmp(key, "container") == 0 ? &a->container
                                                  : &a->group;
        *to = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        LAB_CHECK(*to >= 0);
    }
    LAB_CHECK(sd_bus_message_exit_container(m) >= 0);
}

static void read_info(sd_bus_message *m, struct answer *a)
{
    const char *key, *type;
    LAB_CHECK(sd_bus_message_enter_container(m, 'a', "{sv}") >= 0);
    while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
        int flag;
        LAB_CHECK(sd_bus_message_read(m, "s", &key) >= 0);
        LAB_CHECK(sd_bus_message_peek_type(m, NULL, &type) >= 0);
        uint32_t *to = strcmp(key, "ioas") == 0    ? &a->ioas
                       : strcmp(key, "hwpt") == 0  ? &a->hwpt
                       : strcmp(key, "devid") == 0 ? &a->devid
                                                   : NULL;
        if (to)
            LAB_CHECK(sd_bus_message_read(m, "v", "u", to) >= 0);
        else if (strcmp(key, "again") == 0) {
            LAB_CHECK(sd_bus_message_read(m, "v", "b", &flag) >= 0);
            a->again = flag;
        } else
            LAB_CHECK(sd_bus_message_skip(m, "v") >= 0);
        LAB_CHECK(sd_bus_message_exit_container(m) >= 0);
    }
}

static struct answer ask(const char *name, const char *sysfs, const char *container, bool state)
{
    struct answer a = {.device = -1, .iommufd = -1, .container = -1, .group = -1};
    sd_bus_message *reply;
    bool legacy = strcmp(h.kind, "open-legacy") == 0;
    /* A path for one, an address for the other. */
    holder_call(h.path, MIGD_IFACE_DOMAIN, "OpenDevice", &reply, "ssa{sv}", name,
                state ? sysfs : strrchr(sysfs, '/') + 1, 4, "interface", "s", legacy ? "legacy" : "iommufd",
                "container", "s", container, "state", "b", (int)state, "map-memory", "b",
                (int)(strcmp(h.kind, "open-mapped") == 0));
    read_fds(reply, &a);
    read_info(reply, &a);
    sd_bus_message_unref(reply);
    LAB_EQUAL(a.again, h.again);
    LAB_CHECK(a.device >= 0 && (legacy ? a.container >= 0 && a.group >= 0 : a.iommufd >= 0));
    return a;
}

/* What the dead one mapped is of an address space that is gone. */
static void unmap_type1(int container, uint64_t iova, uint64_t size)
{
    struct kvfio_dma_unmap arg = {.argsz = sizeof arg, .iova = iova, .size = size};
    LAB_EQUAL(kernel_ioctl(NULL, container, KVFIO_IOMMU_UNMAP_DMA, &arg), 0);
    LAB_EQUAL(arg.size, size);
}

static void map_iommufd(void)
{
    bool by_migd = strcmp(h.kind, "open-mapped") == 0;
    if (h.again) {
        LAB_EQUAL(iommufd_unmap(h.iommufd, NULL, h.ioas, HOLDER_SCRATCH, 4096), 0);
        if (!by_migd)
            LAB_EQUAL(iommufd_unmap(h.iommufd, NULL, h.ioas, HOLDER_IOVA, HOLDER_PAGES * 4096), 0);
    }
    if (!by_migd)
        LAB_EQUAL(iommufd_map(h.iommufd, NULL, h.ioas, h.memory, HOLDER_PAGES * 4096, HOLDER_IOVA), 0);
    LAB_EQUAL(iommufd_map(h.iommufd, NULL, h.ioas, h.scratch, 4096, HOLDER_SCRATCH), 0);
}

static void map_type1(void)
{
    if (h.again) {
        unmap_type1(h.mtty_container, HOLDER_IOVA, HOLDER_PAGES * 4096);
        unmap_type1(h.container, HOLDER_IOVA, HOLDER_PAGES * 4096);
        unmap_type1(h.container, HOLDER_SCRATCH, 4096);
    }
    lab_type1_map(h.mtty_container, h.memory, HOLDER_PAGES * 4096, HOLDER_IOVA);
    lab_type1_map(h.container, h.memory, HOLDER_PAGES * 4096, HOLDER_IOVA);
    lab_type1_map(h.container, h.scratch, 4096, HOLDER_SCRATCH);
}

/* Through the descriptors that came over the bus: a DMA of each page is a bit, and nothing else is. The
 * kernel keeps one account for whoever has the container, and migd tracks nothing now. */
static void check_bits(int container, const struct answer *edu)
{
    static const uint64_t pages[] = {3, 64, 1000};
    struct mig_error e = MIG_ERROR_INIT;
    struct region *region;
    struct container *c;
    struct tracker *t;
    LAB_OK(region_new_from_fd(&region, "ram0", h.memory_fd, 0, 0, true, &e), &e);
    LAB_OK(container_new(&c, "dma", container, edu ? &edu->hwpt : NULL, edu != NULL, 0, NULL, &e), &e);
    const struct iova_mapping m = {HOLDER_IOVA, HOLDER_PAGES * 4096, region, 0, IOVA_READ | IOVA_WRITE};
    LAB_OK(container_map(c, &m, &e), &e);
    LAB_OK(tracker_new_container(&t, c, &e), &e);
    struct harvest_set set = {&t, 1, &region, 1};
    LAB_OK(harvest_start(&set, &e), &e);
    LAB_OK(harvest_run(&set, NULL, &e), &e);
    bitmap_clear_all(region->dirty);
    for (size_t i = 0; i < ELEMENTS(pages); i++) {
        uint64_t iova = HOLDER_IOVA + pages[i] * 4096;
        if (edu)
            lab_edu_dma(edu->device, iova, 64);
        else
            LAB_EQUAL(lab_mtty_dma(h.mtty, iova), 0);
        h.journal->last[pages[i]] = 0;
        h.journal->by_mtty[pages[i]] = 0;
    }
    LAB_OK(harvest_run(&set, NULL, &e), &e);
    LAB_EQUAL(bitmap_count(region->dirty), ELEMENTS(pages));
    for (size_t i = 0; i < ELEMENTS(pages); i++)
        LAB_CHECK(bitmap_test(region->dirty, pages[i]));
    harvest_stop(&set);
    tracker_free(t);
    container_unref(c);
    region_unref(region);
}

void holder_open_by_migd(void)
{
    bool legacy = strcmp(h.kind, "open-legacy") == 0;
    const char *edu = lab_edu(h.incoming);
    LAB_CHECK(edu);
    if (!h.again)
        snprintf(h.journal->tty, sizeof h.journal->tty, "%s", lab_new_mtty(1));
    struct answer e = ask("edu0", edu, "dma", false),
                  t = ask("tty0", h.journal->tty, legacy ? "dma-tty" : "dma", true);
    h.edu = e.device;
    h.mtty = t.device;
    h.container = e.container;
    h.mtty_container = t.container;
    h.iommufd = e.iommufd;
    h.ioas = e.ioas;
    const uint32_t ids[] = {e.ioas, e.hwpt, e.devid, t.devid};
    if (!h.again)
        memcpy(h.journal->ids, ids, sizeof ids);
    LAB_EQUAL(memcmp(h.journal->ids, ids, sizeof ids), 0);
    if (legacy)
        map_type1();
    else
        map_iommufd();
    if (legacy)
        check_bits(h.mtty_container, NULL);
    else
        check_bits(h.iommufd, &e);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holders whose address spaces and trackers are put together from words, for the tests of tracking: KIND is
 * "track:" and words with commas between.
 *
 *   edu1, edu2      so many edus on one IOAS, each on an HWPT of its own that tracks
 *   tty-type1       mtty by group, in a type1 container ("dma-tty")
 *   tty-cdev        mtty by cdev, on the IOAS
 *   log             mtty's own log tells what it writes, and its container is not registered
 *   all             nothing tells what mtty writes
 *   huge            memory on huge pages; split: mapped in entries of 4 KiB all the same
 *   remap           every other DMA goes through a mapping that is made for it and goes again (R6)
 *   join            an edu joins mtty's container once /tmp/join is there
 *   reset           resets its mtty once /tmp/reset is there, as a guest's driver may
 *   rogue           writes once more after the final read; rogue-always: as long as it is paused
 *
 * SIGUSR1: it shows by its own DMA that nobody tracks any more, and that it would have seen it.
 */
#include "holder.h"
#include "lab.h"
#include "migd-bus.h"
#include "vfio/iommufd.h"
#include "vfio/vfio-uapi.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SECOND_IOVA UINT64_C(0x4000000)
enum { EDUS_MAX = 2, ROGUE_PAGE = 77, REMAPPED_PAGES = 16 };

static struct {
    unsigned edus, turn;
    int edu[EDUS_MAX];
    uint32_t hwpt[EDUS_MAX];
    bool joined, reset, remapped_tty;
    unsigned rogue_writes;
} t;
static volatile sig_atomic_t asked;

bool holder_tracks(const char *word)
{
    size_t n = strlen(word);
    if (strncmp(h.kind, "track:", 6) != 0)
        return false;
    for (const char *at = h.kind + 6; *at; at += *at == ',')
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == '\0'))
            return true;
        else
            at += strcspn(at, ",");
    return false;
}

static void on_signal(int number)
{
    asked = 1;
}

/* ---- opening ---- */

static void open_iommufd(void)
{
    uint32_t devid;
    h.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    LAB_CHECK(h.iommufd >= 0);
    LAB_EQUAL(iommufd_ioas_alloc(h.iommufd, NULL, &h.ioas), 0);
    if (holder_tracks("split"))
        LAB_EQUAL(iommufd_huge_pages(h.iommufd, NULL, h.ioas, false), 0);
    for (unsigned i = 0; i < t.edus; i++) {
        const char *sysfs = lab_edu(i + (h.incoming ? t.edus : 0));
        LAB_CHECK(sysfs);
        t.edu[i] = lab_open_by_cdev(sysfs, h.iommufd, &devid);
        LAB_EQUAL(iommufd_hwpt_alloc_tracking(h.iommufd, NULL, devid, h.ioas, &t.hwpt[i]), 0);
        LAB_EQUAL(lab_attach(t.edu[i], t.hwpt[i]), 0);
    }
    LAB_EQUAL(iommufd_map(h.iommufd, NULL, h.ioas, h.memory, HOLDER_PAGES * 4096, HOLDER_IOVA), 0);
    LAB_EQUAL(iommufd_map(h.iommufd, NULL, h.ioas, h.scratch, 4096, HOLDER_SCRATCH), 0);
    if (t.edus)
        h.edu = t.edu[0];
}

void holder_track_open(void)
{
    uint32_t devid;
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &a, NULL);
    if (holder_tracks("huge")) /* where entries of 2 MiB fit */
        h.iova = 0x200000;
    t.edus = holder_tracks("edu2") ? 2 : holder_tracks("edu1");
    if (t.edus || holder_tracks("tty-cdev"))
        open_iommufd();
    if (holder_tracks("tty-cdev")) {
        h.mtty = lab_open_by_cdev(lab_new_mtty(1), h.iommufd, &devid);
        LAB_EQUAL(lab_attach(h.mtty, h.ioas), 0);
        return;
    }
    h.mtty = lab_open_by_group(lab_new_mtty(1), &h.mtty_container);
    lab_type1_map(h.mtty_container, h.memory, HOLDER_PAGES * 4096, HOLDER_IOVA);
    lab_type1_map(h.mtty_container, h.scratch, 4096, HOLDER_SCRATCH);
}

static void add_container(const char *name, int fd, uint32_t ioas)
{
    holder_call(h.path, MIGD_IFACE_DOMAIN, "AddContainer", NULL, "sha{sv}", name, fd, ioas ? 1 : 0, "ioas",
                "u", ioas);
}

void holder_track_register(void)
{
    bool log = holder_tracks("log"), all = holder_tracks("all");
    if (t.edus || (h.iommufd >= 0 && !log))
        add_container("dma", h.iommufd, h.ioas);
    if (h.mtty_container >= 0 && !log && !all)
        add_container("dma-tty", h.mtty_container, 0);
    holder_call(h.path, MIGD_IFACE_DOMAIN, "AddDevice", NULL, "sha{sv}", "tty0", h.mtty, 2, "tracker", "s",
                log   ? "device"
                : all ? "all"
                      : "container",
                "pid", "u", (uint32_t)getpid());
}

/* ---- the workload ---- */

static const char *remapped_container(void)
{
    return t.remapped_tty ? "dma-tty" : "dma";
}

/* A write through a mapping of its own, which goes at once: by migd, in the kernel too. */
static void write_remapped(void)
{
    uint64_t first = holder_random_page() / REMAPPED_PAGES * REMAPPED_PAGES,
             page = first + t.turn % REMAPPED_PAGES;
    uint64_t size = REMAPPED_PAGES * 4096, iova = SECOND_IOVA + (page - first) * 4096;
    t.remapped_tty = t.edus == 0;
    if (t.remapped_tty)
        lab_type1_map(h.mtty_container, h.memory + first * 4096, size, SECOND_IOVA);
    else
        LAB_EQUAL(iommufd_map(h.iommufd, NULL, h.ioas, h.memory + first * 4096, size, SECOND_IOVA), 0);
    holder_call(h.path, MIGD_IFACE_DOMAIN, "Map", NULL, "ssttta{sv}", remapped_container(), "ram0",
                first * 4096, SECOND_IOVA, size, 0);
    if (t.remapped_tty)
        holder_mtty_writes(page, iova);
    else
        holder_edu_writes(page, iova);
    holder_call(h.path, MIGD_IFACE_DOMAIN, "Unmap", NULL, "stta{sv}", remapped_container(), SECOND_IOVA, size,
                0);
}

void holder_track_turn(void)
{
    t.turn++;
    if (t.edus)
        h.edu = t.edu[t.turn % t.edus];
    if (holder_tracks("join") && !t.joined && !h.incoming && access("/tmp/join", F_OK) == 0) {
        h.edu = lab_open_by_group(lab_edu(0), &h.mtty_container);
        t.joined = true;
        printf("HOLDER joined\n");
        fflush(stdout);
    }
    if (holder_tracks("reset") && !t.reset && !h.incoming && access("/tmp/reset", F_OK) == 0) {
        LAB_EQUAL(kernel_ioctl(NULL, h.mtty, KVFIO_DEVICE_RESET, NULL), 0);
        t.reset = true;
        printf("HOLDER reset\n");
        fflush(stdout);
    }
    if (holder_tracks("remap"))
        write_remapped();
}

static void write_as_rogue(void)
{
    if (t.edus)
        lab_edu_dma(h.edu, HOLDER_IOVA + ROGUE_PAGE * 4096, 64);
    else
        LAB_EQUAL(lab_mtty_dma(h.mtty, HOLDER_IOVA + ROGUE_PAGE * 4096), 0);
    h.journal->last[ROGUE_PAGE] = h.journal->by_mtty[ROGUE_PAGE] = 0;
}

/* So many pages that sending them again takes longer than the next turn is away. */
bool holder_track_paused(void)
{
    if (!holder_tracks("rogue-always") || h.incoming || !h.saved)
        return false;
    for (uint64_t page = ROGUE_PAGE; page < ROGUE_PAGE + 64; page++) {
        LAB_EQUAL(lab_mtty_dma(h.mtty, HOLDER_IOVA + page * 4096), 0);
        h.journal->last[page] = h.journal->by_mtty[page] = 0;
    }
    return true;
}

void holder_track_saved(void)
{
    if (holder_tracks("rogue") || holder_tracks("rogue-always"))
        write_as_rogue();
}

/* ---- the proof ---- */

static unsigned written_hwpt(unsigned i)
{
    static uint64_t words[HOLDER_PAGES / 64] __attribute__((aligned(4096)));
    unsigned bits = 0;
    h.edu = t.edu[i];
    LAB_EQUAL(
        iommufd_get_dirty(h.iommufd, NULL, t.hwpt[i], HOLDER_IOVA, HOLDER_PAGES * 4096, 4096, false, words),
        0);
    memset(words, 0, sizeof words);
    holder_edu_writes(holder_random_page(), 0);
    LAB_EQUAL(
        iommufd_get_dirty(h.iommufd, NULL, t.hwpt[i], HOLDER_IOVA, HOLDER_PAGES * 4096, 4096, false, words),
        0);
    for (size_t k = 0; k < ELEMENTS(words); k++)
        bits += (unsigned)__builtin_popcountll(words[k]);
    return bits;
}

/* -EINVAL: tracking is off. */
static int written_type1(void)
{
    static uint64_t words[HOLDER_PAGES / 64];
    struct kvfio_dirty_get get = {.dirty = {.argsz = sizeof get, .flags = KVFIO_DIRTY_GET},
                                  .iova = HOLDER_IOVA,
                                  .size = HOLDER_PAGES * 4096,
                                  .bitmap = {4096, sizeof words, (uintptr_t)words}};
    int bits = 0, r = kernel_ioctl(NULL, h.mtty_container, KVFIO_IOMMU_DIRTY, &get);
    if (r < 0)
        return r;
    holder_mtty_writes(holder_random_page(), 0);
    memset(words, 0, sizeof words);
    LAB_EQUAL(kernel_ioctl(NULL, h.mtty_container, KVFIO_IOMMU_DIRTY, &get), 0);
    for (size_t k = 0; k < ELEMENTS(words); k++)
        bits += __builtin_popcountll(words[k]);
    return bits;
}

/* What migd did not turn off would give bits; and bits there are once tracking is on. */
void holder_track_prove(void)
{
    if (!asked)
        return;
    asked = 0;
    for (unsigned i = 0; i < t.edus; i++) {
        LAB_EQUAL(written_hwpt(i), 0);
        LAB_EQUAL(iommufd_set_tracking(h.iommufd, NULL, t.hwpt[i], true), 0);
        LAB_EQUAL(written_hwpt(i), 1);
        LAB_EQUAL(iommufd_set_tracking(h.iommufd, NULL, t.hwpt[i], false), 0);
    }
    if (h.mtty_container >= 0) {
        struct kvfio_dirty on = {.argsz = sizeof on, .flags = KVFIO_DIRTY_START},
                           off = {.argsz = sizeof off, .flags = KVFIO_DIRTY_STOP};
        LAB_EQUAL(written_type1(), -EINVAL);
        LAB_EQUAL(kernel_ioctl(NULL, h.mtty_container, KVFIO_IOMMU_DIRTY, &on), 0);
        LAB_EQUAL(written_type1(), 1);
        LAB_EQUAL(kernel_ioctl(NULL, h.mtty_container, KVFIO_IOMMU_DIRTY, &off), 0);
    }
    printf("HOLDER untracked\n");
    fflush(stdout);
}

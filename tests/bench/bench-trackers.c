/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What it costs to ask which pages were written, through the daemon's own code, on the hardware at hand.
 *
 *   bench-trackers [OPTION]... ADDRESS     the container and the DMA log of a device that nobody holds
 *   bench-trackers [OPTION]... cpu-log     a VMM's bitmap; needs no device
 *
 *   --interface iommufd|legacy  (iommufd where the kernel has it)
 *   --split          entries of 4 KiB in the IOMMU, whatever the memory is made of (iommufd)
 *   --hugepages      memory of 2 MiB pages, which must have been reserved
 *   --most SIZE      the largest amount of memory to be mapped (1G)
 *   --runs N         readings of each size; the median counts (7)
 *
 * The device is opened, which may reset it, mapped, and closed again; it is not told to do anything, so what
 * is reported as written is what the kernel claims. Memory is one file of 256 MiB that is mapped as often as
 * the size wants: the IOMMU and the bitmaps do not care, and little memory is pinned. One JSON object per
 * line.
 */
#include "base/clock.h"
#include "base/parse.h"
#include "dirty/harvest.h"
#include "dirty/tracker.h"
#include "vfio/container.h"
#include "vfio/device.h"
#include "vfio/open.h"
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PIECE_BYTES (UINT64_C(256) << 20)
#define FIRST_IOVA  (UINT64_C(4) << 30) /* beyond what interrupts and firmware use */
#define TIB         (UINT64_C(1) << 40)
#define RUNS_MAX    99

static struct {
    const char *what;
    bool legacy, split;
    uint64_t hugepage_bytes, most_bytes;
    size_t runs;
} arg = {.most_bytes = UINT64_C(1) << 30, .runs = 7};

static void die(const struct mig_error *e)
{
    fprintf(stderr, "bench-trackers: %s%s%s\n", e->message, e->hint[0] ? "\n  " : "", e->hint);
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* One case: read() answers how many pages were reported. */
static void measure(const char *tracker, uint64_t size_bytes, uint64_t (*read)(void *userdata),
                    void *userdata)
{
    uint64_t usec[RUNS_MAX], pages = 0;
    read(userdata); /* what has gathered */
    for (size_t i = 0; i < arg.runs; i++) {
        uint64_t begin = now_usec();
        pages = read(userdata);
        usec[i] = now_usec() - begin;
    }
    qsort(usec, arg.runs, sizeof usec[0], by_size);
    double median = (double)usec[arg.runs / 2], tib = (double)size_bytes / (double)TIB;
    printf("{\"tracker\": \"%s\", \"device\": \"%s\", \"size\": %" PRIu64
           ", \"usec\": %.0f, \"least-usec\": %" PRIu64
           ", \"seconds-per-tib\": %.4f, \"reported\": %.4f, \"split\": %s, \"hugepages\": %s}\n",
           tracker, arg.what, size_bytes, median, usec[0], median / 1e6 / tib,
           (double)pages / (double)(size_bytes / REGION_PAGE_SIZE), arg.split ? "true" : "false",
           arg.hugepage_bytes ? "true" : "false");
    fflush(stdout);
}

static uint64_t count_pages(const uint64_t *words, uint64_t nbits, uint64_t page_bytes)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < div_round_up(nbits, 64); i++)
        n += (uint64_t)__builtin_popcountll(words[i]);
    return n * (page_bytes / REGION_PAGE_SIZE);
}

static void on_report(void *userdata, const struct iova_mapping *m, uint64_t page_bytes,
                      const uint64_t *words, uint64_t nbits)
{
    *(uint64_t *)userdata += count_pages(words, nbits, page_bytes);
}

static uint64_t read_container(void *userdata)
{
    struct mig_error e = MIG_ERROR_INIT;
    uint64_t pages = 0;
    if (container_report(userdata, false, on_report, &pages, &e) < 0)
        die(&e);
    return pages;
}

static uint64_t read_log(void *userdata)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct device *d = userdata;
    uint64_t pages = 0;
    if (d->ops->log_report(d, on_report, &pages, &e) < 0)
        die(&e);
    return pages;
}

static struct iova_mapping piece(struct region *memory, uint64_t n)
{
    return (struct iova_mapping){.iova = FIRST_IOVA + n * PIECE_BYTES,
                                 .size_bytes = PIECE_BYTES,
                                 .region = memory,
                                 .prot = IOVA_READ | IOVA_WRITE};
}

/* 256 MiB, 1 GiB, 4 GiB, ... */
static void bench_container(struct container *c, struct region *memory)
{
    struct mig_error e = MIG_ERROR_INIT;
    uint64_t mapped = 0;
    for (uint64_t size = PIECE_BYTES; size <= arg.most_bytes; size *= 4) {
        for (; mapped * PIECE_BYTES < size; mapped++) {
            const struct iova_mapping m = piece(memory, mapped);
            if (container_map(c, &m, &e) < 0)
                die(&e);
        }
        if (container_start(c, &e) < 0)
            die(&e);
        measure(c->ops->kind, size, read_container, c);
        container_stop(c);
    }
    while (mapped-- > 0)
        if (container_unmap(c, FIRST_IOVA + mapped * PIECE_BYTES, PIECE_BYTES, false, NULL, &e) < 0)
            die(&e);
}

static void bench_log(struct device *d, struct region *memory)
{
    struct mig_error e = MIG_ERROR_INIT;
    uint64_t mapped = 0;
    for (uint64_t size = PIECE_BYTES; size <= arg.most_bytes; size *= 4) {
        for (; mapped * PIECE_BYTES < size; mapped++) {
            const struct iova_mapping m = piece(memory, mapped);
            if (d->ops->dma_map(d, &m, &e) < 0)
                die(&e);
        }
        uint64_t page_bytes = REGION_PAGE_SIZE;
        if (d->ops->log_start(d, &page_bytes, &e) < 0)
            die(&e);
        measure("device", size, read_log, d);
        d->ops->log_stop(d, NULL);
    }
}

static void bench_device(void)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct open_places places = {0};
    struct open_target target;
    _cleanup_(open_space_unrefp) struct open_space *space = NULL;
    _cleanup_(open_device_unrefp) struct open_device *opened = NULL;
    _cleanup_(container_unrefp) struct container *c = NULL;
    _cleanup_(device_unrefp) struct device *d = NULL;
    _cleanup_(region_unrefp) struct region *memory = NULL;
    const struct open_device_options options = {.tracking = OPEN_AS_POSSIBLE};
    bool iommufd = !arg.legacy && open_has_iommufd(&places);
    if (open_target_find(&target, "bench", arg.what, &places, &e) < 0 ||
        open_space_new(&space, "bench", iommufd, arg.split, &places, &e) < 0 ||
        open_device_new(&opened, space, "bench", &target, &options, &e) < 0 ||
        region_new_made(&memory, "bench", PIECE_BYTES, arg.hugepage_bytes, -1, &e) < 0)
        die(&e);
    const struct kvfio_device_options own = {.fd = opened->fd, .gone_fd = -1};
    if ((iommufd ? container_new_own_iommufd(&c, "bench", space->fd, space->ioas, NULL, &e)
                 : container_new_type1(&c, "bench", space->fd, NULL, &e)) < 0 ||
        (opened->hwpt && container_add_hwpt(c, opened->hwpt, &e) < 0) ||
        kvfio_device_new(&d, "bench", &own, &e) < 0)
        die(&e);
    c->maps = true;
    if (container_tells(c))
        bench_container(c, memory);
    else
        fprintf(stderr, "bench-trackers: the IOMMU does not say what %s writes\n", arg.what);
    if (d->ops->info(d)->dirty_log)
        bench_log(d, memory);
}

/* ---- a VMM's bitmap ---- */

struct cpu_log {
    struct harvest_set set;
    uint64_t *words, nwords, every; /* a bit in so many words is set before each reading; 0: none */
};

static uint64_t read_cpu_log(void *userdata)
{
    struct cpu_log *l = userdata;
    struct mig_error e = MIG_ERROR_INIT;
    struct harvest_result found;
    if (harvest_run(&l->set, &found, &e) < 0)
        die(&e);
    uint64_t pages = atomic_load(&l->set.trackers[0]->counters.pages_reported);
    for (uint64_t i = 0; l->every && i < l->nwords; i += l->every)
        __atomic_or_fetch(&l->words[i], 1, __ATOMIC_RELAXED);
    static uint64_t before;
    uint64_t fresh = pages >= before ? pages - before : pages;
    before = pages;
    return fresh;
}

static void bench_cpu_log(uint64_t size_bytes, uint64_t every)
{
    struct mig_error e = MIG_ERROR_INIT;
    struct cpu_log l = {.every = every, .nwords = size_bytes / REGION_PAGE_SIZE / 64};
    _cleanup_(region_unrefp) struct region *memory = NULL;
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    _cleanup_close_ int fd = memfd_create("bench-log", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)(l.nwords * 8)) < 0 ||
        region_new_made(&memory, "bench", size_bytes, 0, -1, &e) < 0 ||
        tracker_new_cpu_log(&t, "bench", memory, fd, 0, REGION_PAGE_SIZE, &e) < 0)
        die(&e);
    l.words = mmap(NULL, l.nwords * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (l.words == MAP_FAILED)
        exit(1);
    l.set = (struct harvest_set){.trackers = &t, .ntrackers = 1, .regions = &memory, .nregions = 1};
    if (harvest_start(&l.set, &e) < 0)
        die(&e);
    measure(every ? "cpu-log, a page in 6400" : "cpu-log", size_bytes, read_cpu_log, &l);
    harvest_stop(&l.set);
    munmap(l.words, l.nwords * 8);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"interface", required_argument, NULL, 'i'}, {"split", no_argument, NULL, 's'},
        {"hugepages", no_argument, NULL, 'H'},       {"most", required_argument, NULL, 'm'},
        {"runs", required_argument, NULL, 'r'},      {NULL, 0, NULL, 0},
    };
    uint64_t n;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;)
        if (c == 'i')
            arg.legacy = strcmp(optarg, "legacy") == 0;
        else if (c == 's')
            arg.split = true;
        else if (c == 'H')
            arg.hugepage_bytes = UINT64_C(2) << 20;
        else if (c == 'r' && parse_unsigned(optarg, RUNS_MAX, &n) == 0 && n > 0)
            arg.runs = n;
        else if (c != 'm' || parse_size(optarg, &arg.most_bytes) < 0)
            return 2;
    if (optind + 1 != argc) {
        fprintf(stderr,
                "usage: bench-trackers [--interface iommufd|legacy] [--split] [--hugepages] [--most SIZE] "
                "[--runs N] ADDRESS|cpu-log\n");
        return 2;
    }
    arg.what = argv[optind];
    if (strcmp(arg.what, "cpu-log") != 0) {
        bench_device();
        return 0;
    }
    for (uint64_t size = PIECE_BYTES; size <= arg.most_bytes; size *= 4) {
        bench_cpu_log(size, 0);
        bench_cpu_log(size, 100);
    }
    return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PID 1 of the Linux guest that check-qemu-vfio runs in a QEMU in the lab. It rewrites pages of its own and
 * lets the mtty that it was passed write by DMA into others, and knows at every moment what each of them has
 * to contain:
 *
 *   - pages of the CPU: each word is the page's number and generation; checked before it gets the next
 * generation.
 *   - pages of the device: zero until mtty has written MTTY-DMA-WRITE!! there, which it does to one page
 * after the other (lab kernel: a write of the page number into its config space). Nothing else writes to
 * them, until all were written and are zeroed for another lap.
 *
 * Twice a second all pages are looked at and one line is printed:
 *
 *   guest: n=LINE written=PAGES dma=PAGES bad=N
 *
 * A page that is not what it must be is counted in each line in which it is found, and the first are named.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define PAGE         4096u
#define CPU_PAGES    4096u
#define DMA_PAGES    4096u
#define BURST_PAGES  16u
#define MTTY         "0x4348"
#define DMA_REGISTER 0xe0

static uint64_t (*cpu)[PAGE / 8];
static char (*dma)[PAGE];
static uint32_t generation[CPU_PAGES], frame[DMA_PAGES];
static uint64_t written, transfers, bad;
static int config = -1;

static uint64_t record(uint64_t page)
{
    return page << 32 | generation[page];
}

static void write_page(uint64_t page)
{
    for (unsigned i = 0; i < PAGE / 8; i++)
        cpu[page][i] = record(page);
}

static void complain(const char *what, uint64_t page, unsigned long long is)
{
    if (bad++ < 8)
        printf("guest: BAD %s page=%llu is=%#llx\n", what, (unsigned long long)page, is);
}

static void check_cpu(uint64_t page)
{
    for (unsigned i = 0; i < PAGE / 8; i++)
        if (cpu[page][i] != record(page)) {
            complain("cpu", page, cpu[page][i]);
            return;
        }
}

static void check_dma(uint64_t page, bool there)
{
    if (memcmp(dma[page], there ? "MTTY-DMA-WRITE!!" : "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) != 0)
        complain(there ? "dma-lost" : "dma-early", page, *(uint64_t *)dma[page]);
}

static void transfer(void)
{
    uint64_t page = transfers % DMA_PAGES;
    if (page == 0)
        memset(dma, 0, (size_t)DMA_PAGES * PAGE);
    if (pwrite(config, &frame[page], sizeof frame[page], DMA_REGISTER) != sizeof frame[page])
        complain("no-dma", page, 0);
    transfers++;
    check_dma(page, true);
}

static void *pages(size_t n)
{
    void *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED || mlock(p, n * PAGE) < 0) {
        printf("guest: GIVES UP: no memory\n");
        pause();
    }
    madvise(p, n * PAGE, MADV_NOHUGEPAGE);
    return p;
}

/* Where the guest's memory has the pages: for the device. */
static void find_frames(void)
{
    int fd = open("/proc/self/pagemap", O_RDONLY);
    for (unsigned i = 0; i < DMA_PAGES; i++) {
        uint64_t entry = 0;
        if (pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)dma[i] / PAGE * 8)) == sizeof entry)
            frame[i] = (uint32_t)(entry & ((UINT64_C(1) << 55) - 1));
        if (!frame[i]) {
            printf("guest: GIVES UP: no frame\n");
            pause();
        }
    }
    close(fd);
}

static void find_mtty(void)
{
    DIR *d = opendir("/sys/bus/pci/devices");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[400], vendor[16] = "";
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/vendor", e->d_name);
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            continue;
        if (read(fd, vendor, sizeof vendor - 1) > 0 && strncmp(vendor, MTTY, 6) == 0) {
            snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/config", e->d_name);
            config = open(path, O_RDWR);
        }
        close(fd);
    }
    if (config < 0) {
        printf("guest: GIVES UP: no mtty\n");
        pause();
    }
}

int main(void)
{
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    for (int i = 0; fd >= 0 && i < 3; i++)
        dup2(fd, i);
    setvbuf(stdout, NULL, _IOLBF, 0);
    cpu = pages(CPU_PAGES);
    dma = pages(DMA_PAGES);
    for (uint64_t p = 0; p < CPU_PAGES; p++)
        write_page(p);
    memset(dma, 0, (size_t)DMA_PAGES * PAGE);
    find_frames();
    find_mtty();
    for (uint64_t n = 1, p = 0;; n++) {
        for (unsigned i = 0; i < 100; i++) {
            transfer();
            for (unsigned k = 0; k < BURST_PAGES; k++, p = (p + 1) % CPU_PAGES, written++) {
                check_cpu(p);
                generation[p]++;
                write_page(p);
            }
            usleep(5000);
        }
        for (uint64_t i = 0; i < CPU_PAGES; i++)
            check_cpu(i);
        uint64_t done = transfers % DMA_PAGES;
        for (uint64_t i = 0; i < DMA_PAGES; i++)
            check_dma(i, i < done || done == 0);
        printf("guest: n=%llu written=%llu dma=%llu bad=%llu\n", (unsigned long long)n,
               (unsigned long long)written, (unsigned long long)transfers, (unsigned long long)bad);
    }
}

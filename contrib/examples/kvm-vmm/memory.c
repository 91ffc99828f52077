/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory.h"
#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PTE_PRESENT = 1, PTE_WRITE = 2, PTE_ACCESSED = 0x20, PTE_DIRTY = 0x40, PTE_LARGE = 0x80 };
#define LARGE_PAGE_BYTES (2ull << 20)

extern const uint8_t guest_program[], guest_program_end[], guest_faults[], guest_faults_end[];

int guest_memory_create(struct guest_memory *m, uint64_t size)
{
    *m = (struct guest_memory){.size = size};
    m->fd = memfd_create("guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *p = MAP_FAILED;
    /* Sealed: everybody who maps it, migd too, may rely on its size. */
    if (m->fd >= 0 && ftruncate(m->fd, (off_t)size) == 0 &&
        fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (p == MAP_FAILED) {
        int error = errno;
        fprintf(stderr, "Cannot make the guest memory: %s\n", strerror(error));
        return -error;
    }
    m->base = p;
    snprintf(m->path, sizeof m->path, "/proc/%d/fd/%d", (int)getpid(), m->fd);
    pattern_init(&m->cpu_pages, "CPU", m->base + GUEST_RECORDS, RECORD_MAGIC_CPU,
                 (size - GUEST_RECORDS) / GUEST_PAGE_BYTES);
    pattern_init(&m->dma_pages, "DMA", m->base + GUEST_DMA_WINDOW, RECORD_MAGIC_DMA, GUEST_DMA_PAGES);
    return 0;
}

/* Flat segments and 64-bit interrupt gates (AMD64 Architecture Programmer's Manual, volume 2, chapter 4): an
 * exception is then told, instead of ending the machine. */
static void write_descriptors(struct guest_memory *m)
{
    uint64_t *gdt = (uint64_t *)(void *)(m->base + GUEST_GDT),
             *idt = (uint64_t *)(void *)(m->base + GUEST_IDT);
    uint64_t entry = GUEST_PROGRAM + (uint64_t)(guest_faults - guest_program);
    const uint64_t entry_bytes = (uint64_t)(guest_faults_end - guest_faults) / GUEST_VECTORS;
    gdt[GUEST_CODE_SELECTOR / 8] = UINT64_C(0x00af9b000000ffff);
    gdt[GUEST_DATA_SELECTOR / 8] = UINT64_C(0x00cf93000000ffff);
    for (unsigned i = 0; i < GUEST_VECTORS; i++, entry += entry_bytes)
        idt[2 * i] = (entry & 0xffff) | GUEST_CODE_SELECTOR << 16 | UINT64_C(0x8e00) << 32 |
                     (entry >> 16 & 0xffff) << 48;
}

void guest_memory_boot(struct guest_memory *m)
{
    uint64_t *tables = (uint64_t *)(void *)(m->base + GUEST_TABLES), *directory = tables + 1024;
    const uint64_t flags = PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY;
    tables[0] = (GUEST_TABLES + 0x1000) | flags;
    tables[512] = (GUEST_TABLES + 0x2000) | flags;
    for (uint64_t i = 0; i < 512; i++)
        directory[i] = i * LARGE_PAGE_BYTES | flags | PTE_LARGE;
    write_descriptors(m);
    memcpy(m->base + GUEST_PROGRAM, guest_program, (size_t)(guest_program_end - guest_program));
}

uint64_t guest_memory_counter(const struct guest_memory *m)
{
    return *(const uint64_t *)(const void *)(m->base + GUEST_COUNTER);
}

void guest_memory_close(struct guest_memory *m)
{
    if (m->base)
        munmap(m->base, m->size);
    if (m->fd >= 0)
        close(m->fd);
    *m = (struct guest_memory){.fd = -1};
}

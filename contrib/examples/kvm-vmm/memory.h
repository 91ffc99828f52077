/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's memory: a memfd, mapped here, by KVM and for the devices, and handed to migd. */
#pragma once
#include "pattern.h"

struct guest_memory {
    int fd;
    char path[64]; /* from which migd can open it again */
    uint64_t size;
    uint8_t *base;
    struct pattern cpu_pages, dma_pages;
};

/* Prints why it failed. */
int guest_memory_create(struct guest_memory *m, uint64_t size);
/* Page tables and program, before the guest runs for the first time. */
void guest_memory_boot(struct guest_memory *m);
uint64_t guest_memory_counter(const struct guest_memory *m);
void guest_memory_close(struct guest_memory *m);

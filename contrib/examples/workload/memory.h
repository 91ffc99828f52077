/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's memory: one file or memfd, mapped shared. Main thread; the CPU threads only use the mapping. */
#pragma once
#include <stdint.h>

struct guest_memory {
    int fd;
    char path[256]; /* from which another process (as root) can open it */
    uint64_t offset, size;
    uint8_t *base;
};

/* path NULL: a memfd, on huge pages of huge_bytes if not 0. Otherwise the file, made and enlarged when it is
 * missing or too short, on tmpfs or hugetlbfs. Prints why it failed. */
int guest_memory_create(struct guest_memory *m, const char *path, uint64_t size, uint64_t huge_bytes);
/* Takes a descriptor, for example one that migd handed out. fd is consumed. */
int guest_memory_adopt(struct guest_memory *m, int fd, uint64_t offset, uint64_t size);
/* An existing file, read only, for the check; size 0: all of it. */
int guest_memory_view(struct guest_memory *m, const char *path, uint64_t offset, uint64_t size);
/* Puts the content of the files below dir into it, over and over until it is full. Of eight MiB one is left a
 * hole and one becomes written zeros. */
int guest_memory_fill(struct guest_memory *m, const char *dir);
void guest_memory_close(struct guest_memory *m);

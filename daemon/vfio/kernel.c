/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio/kernel.h"
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define HUGE_BYTES ((size_t)2 << 20)

static int real_ioctl(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    int r = ioctl(fd, request, arg);
    return r < 0 ? -errno : r;
}

static int real_open(const struct kernel_calls *calls, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

const struct kernel_calls kernel_calls_real = {.ioctl = real_ioctl, .open = real_open};

int kernel_ioctl(const struct kernel_calls *calls, int fd, unsigned long request, void *arg)
{
    int r;
    if (!calls)
        calls = &kernel_calls_real;
    do
        r = calls->ioctl(calls, fd, request, arg);
    while (r == -EINTR);
    return r;
}

int kernel_open(const struct kernel_calls *calls, const char *path, int flags)
{
    int r;
    if (!calls || !calls->open)
        calls = &kernel_calls_real;
    do
        r = calls->open(calls, path, flags);
    while (r == -EINTR);
    return r;
}

bool kernel_fd_may_be_asked(int fd)
{
    struct stat st;
    /* Containers, iommufds and cdevs are character devices; a device of a group is a file without a type. */
    return fstat(fd, &st) == 0 && (S_ISCHR(st.st_mode) || (st.st_mode & S_IFMT) == 0);
}

int kernel_bitmap_prepare(struct kernel_bitmap *b, uint64_t nbits)
{
    uint64_t bytes = kernel_bitmap_bytes(nbits);
    if (bytes > SIZE_MAX - HUGE_BYTES)
        return -ENOMEM;
    if (bytes <= b->room_bytes) {
        memset(b->words, 0, bytes);
        return 0;
    }
    size_t room = align_up(bytes, bytes >= HUGE_BYTES ? HUGE_BYTES : 4096);
    void *words =
        mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (words == MAP_FAILED)
        return -errno;
    (void)madvise(words, room, MADV_HUGEPAGE); /* only a wish */
    kernel_bitmap_free(b);
    b->words = words;
    b->room_bytes = room;
    return 0;
}

void kernel_bitmap_free(struct kernel_bitmap *b)
{
    if (b->words)
        munmap(b->words, b->room_bytes);
    *b = (struct kernel_bitmap){0};
}

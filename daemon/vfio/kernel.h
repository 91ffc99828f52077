/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How this folder talks to the kernel: ioctl, and opening of its devices, through a table, so that tests can
 * play the kernel. Any thread.
 */
#pragma once
#include "base/error.h"

struct kernel_calls {
    /* 0 or more, or -errno. Called again by kernel_ioctl when it was interrupted. */
    int (*ioctl)(const struct kernel_calls *calls, int fd, unsigned long request, void *arg);
    /* A descriptor or -errno; NULL: the real one. */
    int (*open)(const struct kernel_calls *calls, const char *path, int flags);
};

/* The real kernel. */
extern const struct kernel_calls kernel_calls_real;

/* calls NULL: the real kernel. */
int kernel_ioctl(const struct kernel_calls *calls, int fd, unsigned long request, void *arg);
/* With O_CLOEXEC. */
int kernel_open(const struct kernel_calls *calls, const char *path, int flags);

/* Whether requests may be tried on the descriptor at all: not on a file, a socket or a pipe, whose file
 * system could keep whoever asks waiting for ever. */
bool kernel_fd_may_be_asked(int fd);

/* A bitmap for the kernel to write into: page aligned, on huge pages where possible since the kernel pins it
 * while it walks (R7), and empty memory until it is used. */
struct kernel_bitmap {
    uint64_t *words;
    size_t room_bytes;
};
/* At least nbits, all zero; grows the room. The kernel only ever sets bits, so a buffer is zeroed before each
 * use. */
int kernel_bitmap_prepare(struct kernel_bitmap *b, uint64_t nbits);
void kernel_bitmap_free(struct kernel_bitmap *b);
/* Bytes of whole words for nbits. */
static inline uint64_t kernel_bitmap_bytes(uint64_t nbits)
{
    return div_round_up(nbits, 64) * 8;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small things that every file may use: cleanup attributes, ownership transfer, integer helpers. No state. */
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _warn_unused_  __attribute__((warn_unused_result))

#define ELEMENTS(a)                   (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define MIN(a, b)                                                                                            \
    ({                                                                                                       \
        __auto_type _a = (a);                                                                                \
        __auto_type _b = (b);                                                                                \
        _a < _b ? _a : _b;                                                                                   \
    })
#define MAX(a, b)                                                                                            \
    ({                                                                                                       \
        __auto_type _a = (a);                                                                                \
        __auto_type _b = (b);                                                                                \
        _a > _b ? _a : _b;                                                                                   \
    })

/* Closes *fd when it is one, and leaves -EBADF-safe -1 behind. Keeps errno. */
static inline void close_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
        *fd = -1;
    }
}
static inline void free_ptr(void *p)
{
    free(*(void **)p);
}
#define _cleanup_close_ _cleanup_(close_fd)
#define _cleanup_free_  _cleanup_(free_ptr)

#define TAKE_PTR(p)                                                                                          \
    ({                                                                                                       \
        __auto_type _pp = &(p);                                                                              \
        __auto_type _p = *_pp;                                                                               \
        *_pp = NULL;                                                                                         \
        _p;                                                                                                  \
    })
#define TAKE_FD(fd)                                                                                          \
    ({                                                                                                       \
        int *_pfd = &(fd);                                                                                   \
        int _fd = *_pfd;                                                                                     \
        *_pfd = -1;                                                                                          \
        _fd;                                                                                                 \
    })

/* Defines x_unrefp() for _cleanup_ from a destructor that takes a pointer and returns NULL. */
#define DEFINE_CLEANUP(type, func)                                                                           \
    static inline void func##p(type *p)                                                                      \
    {                                                                                                        \
        if (*p)                                                                                              \
            func(*p);                                                                                        \
    }

static inline uint64_t div_round_up(uint64_t n, uint64_t d)
{
    return n / d + (n % d != 0);
}
/* `to` must be a power of two; the caller has checked that n + to does not overflow. */
static inline uint64_t align_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) & ~(to - 1);
}
static inline uint64_t align_down(uint64_t n, uint64_t to)
{
    return n & ~(to - 1);
}
static inline bool is_power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}
/* True when [offset, offset + length) does not wrap and lies inside [0, size). */
static inline bool range_inside(uint64_t offset, uint64_t length, uint64_t size)
{
    return length <= size && offset <= size - length;
}

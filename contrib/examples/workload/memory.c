/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memory.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES (1ull << 20)
#define FILES_MAX   20000u

static int complain(const char *what, const char *path)
{
    int error = errno ? errno : EIO;
    fprintf(stderr, "Cannot %s %s: %s\n", what, path, strerror(error));
    return -error;
}

static int map(struct guest_memory *m, int prot)
{
    void *p = mmap(NULL, m->size, prot, MAP_SHARED, m->fd, (off_t)m->offset);
    if (p == MAP_FAILED)
        return complain("map the guest memory of", m->path);
    m->base = p;
    return 0;
}

int guest_memory_create(struct guest_memory *m, const char *path, uint64_t size, uint64_t huge_bytes)
{
    struct stat st;
    *m = (struct guest_memory){.fd = -1, .size = size};
    if (path) {
        snprintf(m->path, sizeof m->path, "%s", path);
        m->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    } else {
        unsigned flags = MFD_CLOEXEC;
        if (huge_bytes)
            flags |= MFD_HUGETLB | ((unsigned)__builtin_ctzll(huge_bytes) << MFD_HUGE_SHIFT);
        m->fd = memfd_create("guest-memory", flags);
        snprintf(m->path, sizeof m->path, "/proc/%d/fd/%d", (int)getpid(), m->fd);
    }
    if (m->fd < 0 || fstat(m->fd, &st) < 0)
        return complain("open the guest memory", path ? path : "(memfd)");
    if ((uint64_t)st.st_size < size && ftruncate(m->fd, (off_t)size) < 0)
        return complain("set the size of", m->path);
    return map(m, PROT_READ | PROT_WRITE);
}

int guest_memory_adopt(struct guest_memory *m, int fd, uint64_t offset, uint64_t size)
{
    *m = (struct guest_memory){.fd = fd, .offset = offset, .size = size};
    snprintf(m->path, sizeof m->path, "/proc/%d/fd/%d", (int)getpid(), fd);
    return map(m, PROT_READ | PROT_WRITE);
}

int guest_memory_view(struct guest_memory *m, const char *path, uint64_t offset, uint64_t size)
{
    struct stat st;
    *m = (struct guest_memory){.offset = offset};
    snprintf(m->path, sizeof m->path, "%s", path);
    m->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (m->fd < 0 || fstat(m->fd, &st) < 0)
        return complain("open", path);
    m->size = size ? size : (uint64_t)st.st_size - offset;
    if ((uint64_t)st.st_size < offset || (uint64_t)st.st_size - offset < m->size) {
        fprintf(stderr, "%s is shorter than the memory that is to be checked.\n", path);
        return -EINVAL;
    }
    return map(m, PROT_READ);
}

/* nftw() has no user pointer. */
static char **found;
static size_t n_found;

static int take_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type != FTW_F || !S_ISREG(st->st_mode) || st->st_size < 4096)
        return 0;
    if (n_found == FILES_MAX)
        return 1;
    char *copy = strdup(path);
    if (!copy)
        return -1;
    found[n_found++] = copy;
    return 0;
}

int guest_memory_fill(struct guest_memory *m, const char *dir)
{
    uint64_t at = 0, before = 0;
    size_t next = 0;
    int fd = -1, r = -ENOMEM;

    n_found = 0;
    found = calloc(FILES_MAX, sizeof *found);
    if (!found)
        goto out;
    if (nftw(dir, take_file, 32, FTW_PHYS) < 0 || !n_found) {
        fprintf(stderr, "No file of 4 KiB or more below %s.\n", dir);
        r = -ENOENT;
        goto out;
    }
    while (at < m->size) {
        uint64_t chunk = at / CHUNK_BYTES, room = CHUNK_BYTES - at % CHUNK_BYTES;
        if (room > m->size - at)
            room = m->size - at;
        if (chunk % 8 == 7) { /* stays a hole */
            at += room;
            continue;
        }
        if (chunk % 8 == 6) {
            memset(m->base + at, 0, room);
            at += room;
            continue;
        }
        if (fd < 0) {
            if (next == n_found) {
                if (before == at) {
                    fprintf(stderr, "No file below %s can be read.\n", dir);
                    r = -EACCES;
                    goto out;
                }
                before = at;
                next = 0;
            }
            fd = open(found[next++], O_RDONLY | O_CLOEXEC);
            if (fd < 0)
                continue;
        }
        ssize_t n = read(fd, m->base + at, room);
        if (n > 0) {
            at += (uint64_t)n;
        } else {
            close(fd);
            fd = -1;
        }
    }
    r = 0;
out:
    if (fd >= 0)
        close(fd);
    for (size_t i = 0; i < n_found; i++)
        free(found[i]);
    free(found);
    found = NULL;
    return r;
}

void guest_memory_close(struct guest_memory *m)
{
    if (m->base)
        munmap(m->base, m->size);
    if (m->fd >= 0)
        close(m->fd);
    m->base = NULL;
    m->fd = -1;
}

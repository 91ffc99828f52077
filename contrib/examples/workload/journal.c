/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t file_bytes(uint64_t pages, unsigned threads)
{
    return 4096 + pages * 8 * (1 + threads);
}

static int attach(struct cpu_journal *j, int fd, const char *path, int prot)
{
    void *p = mmap(NULL, j->bytes, prot, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    if (p == MAP_FAILED) {
        fprintf(stderr, "Cannot map the journal %s: %s\n", path, strerror(error));
        return -error;
    }
    j->header = p;
    j->tails = (uint64_t *)((char *)p + 4096);
    return 0;
}

int cpu_journal_create(struct cpu_journal *j, const char *path, uint64_t pages, unsigned threads)
{
    *j = (struct cpu_journal){.bytes = file_bytes(pages, threads)};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)j->bytes) < 0) {
        int error = errno;
        fprintf(stderr, "Cannot make the journal %s: %s\n", path, strerror(error));
        if (fd >= 0)
            close(fd);
        return -error;
    }
    int r = attach(j, fd, path, PROT_READ | PROT_WRITE);
    if (r < 0)
        return r;
    j->header->pages = pages;
    j->header->threads = threads;
    j->header->magic = CPU_JOURNAL_MAGIC;
    j->sequences = j->tails + pages;
    return 0;
}

int cpu_journal_view(struct cpu_journal *j, const char *path)
{
    struct stat st;
    *j = (struct cpu_journal){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int error = errno;
        fprintf(stderr, "Cannot open the journal %s: %s\n", path, strerror(error));
        if (fd >= 0)
            close(fd);
        return -error;
    }
    j->bytes = (uint64_t)st.st_size;
    if (j->bytes < 4096) {
        close(fd);
        fprintf(stderr, "%s is not a journal of this program.\n", path);
        return -EINVAL;
    }
    int r = attach(j, fd, path, PROT_READ);
    if (r < 0)
        return r;
    const struct cpu_journal_header *h = j->header;
    if (h->magic != CPU_JOURNAL_MAGIC || h->threads > RECORD_SLOTS || h->pages > j->bytes / 8 ||
        file_bytes(h->pages, h->threads) > j->bytes) {
        fprintf(stderr, "%s is not a journal of this program.\n", path);
        cpu_journal_close(j);
        return -EINVAL;
    }
    j->sequences = j->tails + h->pages;
    return 0;
}

void cpu_journal_restart(struct cpu_journal *j)
{
    struct cpu_journal_header *h = j->header;
    if (!h)
        return;
    memset(h->thread, 0, sizeof h->thread);
    memset(j->sequences, 0, h->pages * h->threads * 8);
    h->filled = 0;
}

void cpu_journal_close(struct cpu_journal *j)
{
    if (j->header)
        munmap(j->header, j->bytes);
    *j = (struct cpu_journal){0};
}

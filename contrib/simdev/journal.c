/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal.h"
#include "record.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

int journal_create(struct journal *j, const char *path, uint32_t device_id, struct mig_error *err)
{
    *j = (struct journal){.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644),
                          .end = JOURNAL_DATA_OFFSET};
    if (j->fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot create the journal %s: %m", path);
    if (ftruncate(j->fd, JOURNAL_DATA_OFFSET) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot make room in the journal %s: %m", path);
    void *p = mmap(NULL, JOURNAL_DATA_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
    if (p == MAP_FAILED)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot map the journal %s: %m", path);
    j->header = p;
    j->table = (struct journal_area *)((uint8_t *)p + JOURNAL_TABLE_OFFSET);
    j->entries = calloc(JOURNAL_AREAS_MAX, sizeof *j->entries);
    if (!j->entries)
        return mig_error_oom(err);
    *j->header = (struct journal_header){
        .magic = JOURNAL_MAGIC,
        .device_id = device_id,
        .pid = (uint32_t)getpid(),
    };
    return 0;
}

void journal_close(struct journal *j)
{
    if (j->header) {
        for (uint64_t i = 0; j->entries && i < j->header->n_areas; i++)
            munmap(j->entries[i], j->table[i].pages * sizeof(uint64_t));
        munmap(j->header, JOURNAL_DATA_OFFSET);
        close_fd(&j->fd);
    }
    free(j->entries);
    *j = (struct journal){.fd = -1};
}

static int add_area(struct journal *j, uint64_t iova, uint64_t end_iova, uint64_t shift)
{
    uint64_t n = j->header->n_areas;
    struct journal_area area = {
        .iova = iova, .pages = (end_iova - iova) / DEVICE_PAGE_BYTES, .file_offset = j->end, .shift = shift};
    uint64_t bytes = area.pages * sizeof(uint64_t);
    if (n == JOURNAL_AREAS_MAX)
        return -ENOSPC;
    if (ftruncate(j->fd, (off_t)(j->end + bytes)) < 0)
        return -errno;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, (off_t)j->end);
    if (p == MAP_FAILED)
        return -errno;
    j->entries[n] = p;
    j->table[n] = area;
    j->end += bytes;
    /* The area counts only when it is whole: the process may be killed between any two of these lines. */
    __atomic_store_n(&j->header->n_areas, n + 1, __ATOMIC_RELEASE);
    return 0;
}

static const struct journal_area *area_at(const struct journal *j, uint64_t iova, uint64_t shift)
{
    for (uint64_t i = 0; i < j->header->n_areas; i++) {
        if (j->table[i].shift == shift && iova - j->table[i].iova < j->table[i].pages * DEVICE_PAGE_BYTES)
            return &j->table[i];
    }
    return NULL;
}

int journal_cover(struct journal *j, uint64_t iova, uint64_t size, uint64_t shift)
{
    if (!j->header)
        return 0;
    uint64_t chunk = align_down(iova, JOURNAL_CHUNK_BYTES),
             last = align_down(iova + size - 1, JOURNAL_CHUNK_BYTES);
    /* Runs of chunks that no area has yet become one area each. */
    for (uint64_t run = chunk;; chunk += JOURNAL_CHUNK_BYTES) {
        bool known = area_at(j, chunk, shift) != NULL;
        uint64_t run_end = known ? chunk : chunk + JOURNAL_CHUNK_BYTES;
        if ((known || chunk == last) && run_end > run) {
            int r = add_area(j, run, run_end, shift);
            if (r < 0)
                return r;
        }
        if (known)
            run = chunk + JOURNAL_CHUNK_BYTES;
        if (chunk == last)
            return 0;
    }
}

uint64_t *journal_entry(const struct journal *j, uint64_t iova, uint64_t shift, uint64_t *ret_pages)
{
    const struct journal_area *area = j->header ? area_at(j, iova, shift) : NULL;
    if (!area) {
        *ret_pages = UINT64_MAX;
        return NULL;
    }
    uint64_t page = (iova - area->iova) / DEVICE_PAGE_BYTES;
    *ret_pages = area->pages - page;
    return j->entries[area - j->table] + page;
}

void journal_restart(struct journal *j)
{
    if (!j->header)
        return;
    for (uint64_t i = 0; i < j->header->n_areas; i++) {
        size_t bytes = j->table[i].pages * sizeof(uint64_t);
        if (madvise(j->entries[i], bytes, MADV_REMOVE) < 0)
            memset(j->entries[i], 0, bytes);
    }
    j->header->first = j->header->last = 0;
}

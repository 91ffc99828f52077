/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a journal. It may come from another host, so nothing in it is believed before it was checked. */
#include "base/fds.h"
#include "journal.h"
#include "record.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

int journal_view_open(struct journal_view *v, const char *path, struct mig_error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot open the journal %s: %m", path);
    if ((uint64_t)st.st_size < JOURNAL_DATA_OFFSET)
        return mig_error_set(err, MIG_ERR_FAILED, EBADMSG, "%s is too short for a journal of simdev", path);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "cannot map the journal %s: %m", path);
    struct journal_view view = {.data = p, .size = (size_t)st.st_size, .header = p};
    view.areas = (const struct journal_area *)(view.data + JOURNAL_TABLE_OFFSET);
    view.n_areas = view.header->n_areas;
    bool good = view.header->magic == JOURNAL_MAGIC && view.n_areas <= JOURNAL_AREAS_MAX;
    for (uint64_t i = 0; good && i < view.n_areas; i++) {
        const struct journal_area *area = &view.areas[i];
        good = area->pages <= view.size / sizeof(uint64_t) && area->file_offset % sizeof(uint64_t) == 0 &&
               range_inside(area->file_offset, area->pages * sizeof(uint64_t), view.size);
    }
    if (!good) {
        journal_view_close(&view);
        return mig_error_set(err, MIG_ERR_FAILED, EBADMSG, "%s is no journal of simdev", path);
    }
    *v = view;
    return 0;
}

void journal_view_close(struct journal_view *v)
{
    if (v->data)
        munmap((void *)v->data, v->size);
    *v = (struct journal_view){};
}

uint64_t journal_view_newest(const struct journal_view *v, uint64_t iova, const uint64_t *shift)
{
    uint64_t newest = 0;
    for (uint64_t i = 0; i < v->n_areas; i++) {
        const struct journal_area *area = &v->areas[i];
        uint64_t page = (iova - area->iova) / DEVICE_PAGE_BYTES;
        if (iova >= area->iova && page < area->pages && (!shift || *shift == area->shift))
            newest = MAX(newest, ((const uint64_t *)(v->data + area->file_offset))[page]);
    }
    return newest;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A bitmap in shared memory in which the VMM sets a bit after it has written a page, always with an atomic
 * or. The words are taken with an atomic exchange before the pages are read, so a write after the exchange
 * sets its bit again. The VMM may be hostile: nothing here depends on what the words hold. Worker thread.
 */
#include "base/fds.h"
#include "base/words.h"
#include "dirty/tracker.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CHUNK_WORDS 2048u

struct tracker_cpu_log {
    struct tracker base;
    struct region *region;
    int fd; /* of the bitmap, for who keeps it beyond this process */
    uint8_t *map;
    uint64_t map_bytes;
    uint64_t *words; /* inside the map */
    uint64_t nwords, nbits;
};

static struct tracker_cpu_log *from_base(struct tracker *t)
{
    return CONTAINER_OF(t, struct tracker_cpu_log, base);
}

/* Bits from before the start are thrown away: round 0 sends everything, and has not read a byte yet. */
static int cpu_log_start(struct tracker *t, struct mig_error *err)
{
    struct tracker_cpu_log *l = from_base(t);
    if (t->started)
        return 0;
    uint64_t old[CHUNK_WORDS];
    for (uint64_t i = 0; i < l->nwords; i += CHUNK_WORDS)
        bitmap_take_words_atomic(old, l->words + i, MIN(l->nwords - i, (uint64_t)CHUNK_WORDS));
    t->started = true;
    return 0;
}

static void cpu_log_stop(struct tracker *t)
{
    t->started = false;
}

static void put(struct tracker_cpu_log *l, struct dirty_sink *sink, uint64_t first_bit, const uint64_t *words,
                uint64_t nbits)
{
    uint64_t per_bit = l->base.granularity_bytes >> REGION_PAGE_SHIFT;
    if (per_bit == 1) {
        dirty_sink_words(sink, l->region, first_bit, words, nbits);
        return;
    }
    const struct bitmap bits = bitmap_view(words, nbits);
    bitmap_for_each_run (&bits, first, count) {
        uint64_t page = (first_bit + first) * per_bit;
        dirty_sink_range(sink, l->region, page, MIN(count * per_bit, l->region->npages - page));
    }
}

static int cpu_log_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct tracker_cpu_log *l = from_base(t);
    uint64_t found[CHUNK_WORDS];
    /* Clean stretches are skipped where they lie; only what follows is taken out. */
    for (uint64_t i = words_skip_clean(l->words, 0, l->nwords); i < l->nwords;
         i = words_skip_clean(l->words, i, l->nwords)) {
        uint64_t n = MIN(l->nwords - i, (uint64_t)CHUNK_WORDS);
        if (peek)
            for (uint64_t k = 0; k < n; k++)
                found[k] = __atomic_load_n(&l->words[i + k], __ATOMIC_ACQUIRE);
        else
            bitmap_take_words_atomic(found, l->words + i, n);
        put(l, sink, i * 64, found, MIN(n * 64, l->nbits - i * 64));
        i += n;
    }
    return 0;
}

static bool cpu_log_covers(const struct tracker *t, const struct region *r)
{
    return CONTAINER_OF(t, struct tracker_cpu_log, base)->region == r;
}

static void cpu_log_destroy(struct tracker *t)
{
    struct tracker_cpu_log *l = from_base(t);
    if (l->map)
        munmap(l->map, l->map_bytes);
    close_fd(&l->fd);
    region_unref(l->region);
    free(l);
}

static int cpu_log_held_fd(const struct tracker *t)
{
    return CONTAINER_OF(t, const struct tracker_cpu_log, base)->fd;
}

static const struct tracker_ops cpu_log_ops = {
    .kind = "cpu-log",
    .answers_gate = true,
    .start = cpu_log_start,
    .stop = cpu_log_stop,
    .harvest = cpu_log_harvest,
    .held_fd = cpu_log_held_fd,
    .covers = cpu_log_covers,
    .destroy = cpu_log_destroy,
};

static int check_log(const struct tracker_cpu_log *l, int fd, uint64_t offset, uint64_t page_bytes,
                     struct mig_error *err)
{
    struct stat st;
    const char *why = NULL;
    int mode = fcntl(fd, F_GETFL);
    if (mode < 0 || fstat(fd, &st) < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, errno,
                             "tracker %s: cannot examine the file of the log: %s", l->base.name,
                             strerror(errno));
    if (!is_power_of_two(page_bytes) || page_bytes < REGION_PAGE_SIZE || page_bytes > REGION_SIZE_MAX)
        why = "its page size must be a power of two, 4096 or more";
    else if (!S_ISREG(st.st_mode) || (mode & O_PATH) || (mode & O_ACCMODE) != O_RDWR)
        why = "its descriptor must be a memfd or file, open for reading and writing";
    else if (offset % 8)
        why = "its offset must be a multiple of 8";
    else if (!range_inside(offset, l->nwords * 8, (uint64_t)st.st_size))
        why = "its file is too small";
    if (!why)
        return 0;
    mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                  "tracker %s: the log of CPU writes to region %s cannot be used: %s", l->base.name,
                  l->region->name, why);
    if (is_power_of_two(page_bytes))
        mig_error_hint(
            err, "a log of this region with pages of %llu bytes takes %llu bytes from offset %llu on",
            (unsigned long long)page_bytes, (unsigned long long)l->nwords * 8, (unsigned long long)offset);
    return -EINVAL;
}

int tracker_new_cpu_log(struct tracker **ret, const char *name, struct region *region, int log_fd,
                        uint64_t log_offset_bytes, uint64_t page_bytes, struct mig_error *err)
{
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    struct tracker_cpu_log *l = calloc(1, sizeof *l);
    if (!l)
        return mig_error_oom(err);
    l->fd = -1;
    int rc = tracker_init(&l->base, &cpu_log_ops, name, "cpu", err);
    if (rc < 0) {
        free(l);
        return rc;
    }
    t = &l->base;
    l->region = region_ref(region);
    l->nbits = page_bytes ? div_round_up(region->size_bytes, page_bytes) : 0;
    l->nwords = div_round_up(l->nbits, 64);
    rc = check_log(l, log_fd, log_offset_bytes, page_bytes, err);
    if (rc < 0)
        return rc;
    t->granularity_bytes = page_bytes;
    uint64_t lead = log_offset_bytes % REGION_PAGE_SIZE;
    l->map_bytes = lead + l->nwords * 8;
    void *p = mmap(NULL, l->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, log_fd,
                   (off_t)(log_offset_bytes - lead));
    if (p == MAP_FAILED)
        return mig_error_set(err, MIG_ERR_FAILED, errno,
                             "tracker %s: cannot map the log of CPU writes to region %s: %s", name,
                             region->name, strerror(errno));
    l->map = p;
    l->words = (uint64_t *)(l->map + lead);
    l->fd = fd_dup(log_fd);
    if (l->fd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -l->fd, "tracker %s: its bitmap: %s", name,
                             strerror(-l->fd));
    *ret = TAKE_PTR(t);
    return 0;
}

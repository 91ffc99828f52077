/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table is one array, sorted by IOVA and without overlaps, behind a lock for many readers. Lookups and
 * marks (a device that DMAs by message asks for each) search it in halves; adding and removing shift the
 * tail, which at the limit of 65535 mappings is 2.5 MB, less than the system call costs that maps one.
 *
 * No mapping reaches the last byte of the 64-bit space, so that `iova + size_bytes` never wraps.
 */
#include "memory/iova-map.h"
#include <pthread.h>
#include <string.h>

struct iova_map {
    pthread_rwlock_t lock;
    struct iova_mapping *mappings;
    size_t count, allocated;
};

int iova_map_new(struct iova_map **ret)
{
    struct iova_map *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    int e = pthread_rwlock_init(&m->lock, NULL);
    if (e) {
        free(m);
        return -e;
    }
    *ret = m;
    return 0;
}

struct iova_map *iova_map_free(struct iova_map *m)
{
    if (!m)
        return NULL;
    iova_mappings_free(m->mappings, m->count);
    pthread_rwlock_destroy(&m->lock);
    free(m);
    return NULL;
}

static uint64_t mapping_end(const struct iova_mapping *mapping)
{
    return mapping->iova + mapping->size_bytes;
}

/* The position of the first mapping that ends behind iova: it contains iova, or is the next one, or is count.
 */
static size_t find(const struct iova_map *m, uint64_t iova)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mapping_end(&m->mappings[middle]) > iova)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int check(const struct iova_mapping *a, struct mig_error *err)
{
    const char *why = NULL;
    if ((a->iova | a->size_bytes | a->offset_bytes) % REGION_PAGE_SIZE)
        why = "IOVA, size and offset must be multiples of 4 KiB";
    else if (a->size_bytes == 0)
        why = "it is empty";
    else if (a->iova > UINT64_MAX - a->size_bytes)
        why = "it reaches beyond the 64-bit address space";
    else if (!range_inside(a->offset_bytes, a->size_bytes, a->region->size_bytes))
        why = "it reaches beyond the end of the region";
    else if (a->prot == 0 || (a->prot & ~(IOVA_READ | IOVA_WRITE)))
        why = "it must be readable, writable or both";
    if (!why)
        return 0;
    return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                         "cannot map IOVA %#llx, %#llx bytes, to region %s at %#llx: %s",
                         (unsigned long long)a->iova, (unsigned long long)a->size_bytes, a->region->name,
                         (unsigned long long)a->offset_bytes, why);
}

static int make_room(struct iova_map *m)
{
    if (m->count < m->allocated)
        return 0;
    size_t n = m->allocated ? m->allocated * 2 : 16;
    struct iova_mapping *grown = realloc(m->mappings, n * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    m->mappings = grown;
    m->allocated = n;
    return 0;
}

static int add_locked(struct iova_map *m, const struct iova_mapping *a, struct mig_error *err)
{
    size_t i = find(m, a->iova);
    if (i < m->count && m->mappings[i].iova < mapping_end(a)) {
        const struct iova_mapping *b = &m->mappings[i];
        return mig_error_set(err, MIG_ERR_EXISTS, EEXIST,
                             "cannot map IOVA %#llx, %#llx bytes (region %s): it overlaps the mapping of "
                             "IOVA %#llx, %#llx bytes (region %s)",
                             (unsigned long long)a->iova, (unsigned long long)a->size_bytes, a->region->name,
                             (unsigned long long)b->iova, (unsigned long long)b->size_bytes, b->region->name);
    }
    if (m->count >= IOVA_MAPPINGS_MAX)
        return mig_error_set(
            err, MIG_ERR_LIMIT, ENOSPC,
            "cannot map IOVA %#llx: the address space has %u mappings already, which is the limit",
            (unsigned long long)a->iova, IOVA_MAPPINGS_MAX);
    if (make_room(m) < 0)
        return mig_error_oom(err);
    memmove(&m->mappings[i + 1], &m->mappings[i], (m->count - i) * sizeof *a);
    m->mappings[i] = *a;
    region_ref(a->region);
    m->count++;
    return 0;
}

int iova_map_add(struct iova_map *m, const struct iova_mapping *mapping, struct mig_error *err)
{
    int rc = check(mapping, err);
    if (rc < 0)
        return rc;
    pthread_rwlock_wrlock(&m->lock);
    rc = add_locked(m, mapping, err);
    pthread_rwlock_unlock(&m->lock);
    return rc;
}

int iova_map_remove(struct iova_map *m, uint64_t iova, uint64_t size_bytes, struct mig_error *err)
{
    struct region *region = NULL;
    pthread_rwlock_wrlock(&m->lock);
    size_t i = find(m, iova);
    if (i < m->count && m->mappings[i].iova == iova && m->mappings[i].size_bytes == size_bytes) {
        region = m->mappings[i].region;
        m->count--;
        memmove(&m->mappings[i], &m->mappings[i + 1], (m->count - i) * sizeof *m->mappings);
    }
    pthread_rwlock_unlock(&m->lock);
    if (!region)
        return mig_error_set(err, MIG_ERR_NO_SUCH_OBJECT, ENOENT,
                             "cannot unmap IOVA %#llx, %#llx bytes: no mapping has exactly this range",
                             (unsigned long long)iova, (unsigned long long)size_bytes);
    region_unref(region); /* may unmap terabytes: not under the lock */
    return 0;
}

void iova_map_clear(struct iova_map *m)
{
    pthread_rwlock_wrlock(&m->lock);
    struct iova_mapping *old = TAKE_PTR(m->mappings);
    size_t count = m->count;
    m->count = m->allocated = 0;
    pthread_rwlock_unlock(&m->lock);
    iova_mappings_free(old, count);
}

int iova_map_lookup(struct iova_map *m, uint64_t iova, struct iova_mapping *ret)
{
    int rc = -ENOENT;
    pthread_rwlock_rdlock(&m->lock);
    size_t i = find(m, iova);
    if (i < m->count && m->mappings[i].iova <= iova) {
        *ret = m->mappings[i];
        region_ref(ret->region);
        rc = 0;
    }
    pthread_rwlock_unlock(&m->lock);
    return rc;
}

bool iova_map_has(struct iova_map *m, const struct region *region)
{
    bool found = false;
    pthread_rwlock_rdlock(&m->lock);
    for (size_t i = 0; i < m->count && !found; i++)
        found = m->mappings[i].region == region;
    pthread_rwlock_unlock(&m->lock);
    return found;
}

size_t iova_map_count(struct iova_map *m)
{
    pthread_rwlock_rdlock(&m->lock);
    size_t n = m->count;
    pthread_rwlock_unlock(&m->lock);
    return n;
}

int iova_map_snapshot(struct iova_map *m, struct iova_mapping **ret, size_t *ret_count)
{
    struct iova_mapping *copy = NULL;
    int rc = 0;
    pthread_rwlock_rdlock(&m->lock);
    size_t n = m->count;
    if (n) {
        copy = malloc(n * sizeof *copy);
        if (copy) {
            memcpy(copy, m->mappings, n * sizeof *copy);
            for (size_t i = 0; i < n; i++)
                region_ref(copy[i].region);
        } else {
            rc = -ENOMEM;
        }
    }
    pthread_rwlock_unlock(&m->lock);
    if (rc < 0)
        return rc;
    *ret = copy;
    *ret_count = n;
    return 0;
}

void iova_mappings_free(struct iova_mapping *mappings, size_t count)
{
    for (size_t i = 0; mappings && i < count; i++)
        region_unref(mappings[i].region);
    free(mappings);
}

/* [iova, end), which need not be aligned: a page that is touched anywhere is marked. Returns the pages. */
static uint64_t mark_locked(struct iova_map *m, uint64_t iova, uint64_t end)
{
    uint64_t pages = 0;
    if (iova >= end)
        return 0;
    for (size_t i = find(m, iova); i < m->count && m->mappings[i].iova < end; i++) {
        const struct iova_mapping *a = &m->mappings[i];
        uint64_t from = MAX(iova, a->iova) - a->iova + a->offset_bytes;
        uint64_t to = MIN(end, mapping_end(a)) - a->iova + a->offset_bytes;
        uint64_t first = from >> REGION_PAGE_SHIFT, count = div_round_up(to, REGION_PAGE_SIZE) - first;
        region_mark(a->region, first, count);
        pages += count;
    }
    return pages;
}

void iova_map_mark(struct iova_map *m, uint64_t iova, uint64_t size_bytes)
{
    uint64_t end = size_bytes > UINT64_MAX - iova ? UINT64_MAX : iova + size_bytes;
    pthread_rwlock_rdlock(&m->lock);
    mark_locked(m, iova, end);
    pthread_rwlock_unlock(&m->lock);
}

uint64_t iova_map_mark_bitmap(struct iova_map *m, uint64_t iova, uint64_t page_bytes, const uint64_t *words,
                              uint64_t nbits)
{
    if (page_bytes == 0)
        return 0;
    /* Bits whose page begins beyond the address space lead nowhere. */
    uint64_t last = (UINT64_MAX - iova) / page_bytes;
    nbits = nbits > last ? last + 1 : nbits;
    const struct bitmap bits = bitmap_view(words, nbits);
    uint64_t pages = 0, done = 0;
    pthread_rwlock_rdlock(&m->lock);
    bitmap_for_each_run (&bits, first, count) {
        /* Pages below 4 KiB: two runs may lie in one page, which is marked once. */
        uint64_t from = MAX(align_down(iova + first * page_bytes, REGION_PAGE_SIZE), done);
        uint64_t to = first + count > last ? UINT64_MAX : iova + (first + count) * page_bytes;
        if (from >= to)
            continue;
        pages += mark_locked(m, from, to);
        done = to > UINT64_MAX - REGION_PAGE_SIZE ? UINT64_MAX : align_up(to, REGION_PAGE_SIZE);
    }
    pthread_rwlock_unlock(&m->lock);
    return pages;
}

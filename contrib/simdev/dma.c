/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dma.h"
#include "record.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAPS_MAX 65535u

uint64_t dma_map_pages(const struct dma_map *map)
{
    uint64_t start = align_down(map->iova, DEVICE_PAGE_BYTES);
    return (map->iova + map->size - 1 - start) / DEVICE_PAGE_BYTES + 1;
}

/* Index of the first map that ends behind iova. */
static size_t lower_bound(const struct dma_table *t, uint64_t iova)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->maps[middle]->iova + (t->maps[middle]->size - 1) < iova)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct dma_map *map_free(struct dma_map *map)
{
    if (map->mapped)
        munmap(map->mapped, map->mapped_bytes);
    free(map->dirty);
    free(map->late);
    free(map);
    return NULL;
}
DEFINE_CLEANUP(struct dma_map *, map_free)

static int map_descriptor(struct dma_map *map, const struct vfu_dma_map *m, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    /* Touching what lies behind the end of a file kills a process; libvfio-user takes that risk. */
    if (S_ISREG(st.st_mode) && !range_inside(m->offset, m->size, (uint64_t)st.st_size))
        return -EINVAL;
    uint64_t start = align_down(m->offset, (uint64_t)sysconf(_SC_PAGESIZE));
    map->mapped_bytes = m->size + (m->offset - start);
    int prot = (m->flags & VFU_DMA_MAP_WRITE ? PROT_WRITE : 0) | PROT_READ;
    void *p = mmap(NULL, map->mapped_bytes, prot, MAP_SHARED, fd, (off_t)start);
    if (p == MAP_FAILED)
        return -errno;
    map->mapped = p;
    map->memory = (uint8_t *)p + (m->offset - start);
    return 0;
}

int dma_add(struct dma_table *t, const struct vfu_dma_map *m, int fd, struct dma_map **ret)
{
    if (m->size == 0 || m->address + m->size < m->address ||
        (m->flags & ~(VFU_DMA_MAP_READ | VFU_DMA_MAP_WRITE)) != 0)
        return -EINVAL;
    if (t->n == MAPS_MAX)
        return -ENOSPC;
    size_t at = lower_bound(t, m->address);
    if (at < t->n && t->maps[at]->iova < m->address + m->size)
        return t->maps[at]->iova == m->address && t->maps[at]->size == m->size ? -EEXIST : -EINVAL;

    _cleanup_(map_freep) struct dma_map *map = calloc(1, sizeof *map);
    if (!map)
        return -ENOMEM;
    *map = (struct dma_map){
        .iova = m->address,
        .size = m->size,
        .offset_bytes = m->offset,
        .writable = m->flags & VFU_DMA_MAP_WRITE,
    };
    int r = fd >= 0 ? map_descriptor(map, m, fd) : 0;
    if (r < 0)
        return r;
    struct dma_map **more = reallocarray(t->maps, t->n + 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    t->maps = more;
    memmove(&t->maps[at + 1], &t->maps[at], (t->n - at) * sizeof *t->maps);
    t->maps[at] = *ret = TAKE_PTR(map);
    t->n++;
    return 0;
}

struct dma_map *dma_find(const struct dma_table *t, uint64_t iova)
{
    size_t at = lower_bound(t, iova);
    return at < t->n && t->maps[at]->iova <= iova ? t->maps[at] : NULL;
}

struct dma_map *dma_find_exact(struct dma_table *t, uint64_t iova, uint64_t size)
{
    struct dma_map *map = dma_find(t, iova);
    return map && map->iova == iova && map->size == size ? map : NULL;
}

void dma_remove(struct dma_table *t, struct dma_map *map)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->maps[i] == map) {
            memmove(&t->maps[i], &t->maps[i + 1], (t->n - i - 1) * sizeof *t->maps);
            t->n--;
            map_free(map);
            return;
        }
    }
}

void dma_clear(struct dma_table *t)
{
    for (size_t i = 0; i < t->n; i++)
        map_free(t->maps[i]);
    free(t->maps);
    *t = (struct dma_table){};
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Regions: checking a descriptor that somebody handed over, mapping it, making memory. Creation runs on the
 * main thread, marks come from any thread, the last reference may be dropped by any thread.
 *
 * A mapping beyond the end of its file kills by SIGBUS, so sizes are checked here, once. A file that its
 * owner shrinks later is not guarded against: memory that migd makes is sealed against it, and an owner who
 * passes a memfd does well to set F_SEAL_SHRINK.
 *
 * The offset of the descriptor's open file moves with every question for holes; nothing in migd reads or
 * writes at that offset.
 */
#include "memory/region.h"
#include "base/fds.h"
#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#ifdef HAVE_NUMA
#include <numaif.h>
#endif

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#define NUMA_NODES_MAX 1024

static bool name_is_valid(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > REGION_NAME_MAX)
        return false;
    for (; *name; name++)
        if (!isgraph((unsigned char)*name))
            return false;
    return true;
}

/* What of the file is mapped: hugetlbfs maps whole huge pages only. */
static uint64_t map_lead(const struct region *r)
{
    return r->offset_bytes % r->file_page_bytes;
}

static uint64_t map_length(const struct region *r)
{
    return align_up(map_lead(r) + r->size_bytes, r->file_page_bytes);
}

static int new_named(struct region **ret, const char *name, struct mig_error *err)
{
    if (!name_is_valid(name)) {
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL, "\"%.80s\" is not a name for a memory region",
                      name);
        mig_error_hint(err, "use 1 to %d printable characters without blanks", REGION_NAME_MAX);
        return -EINVAL;
    }
    struct region *r = calloc(1, sizeof *r);
    if (!r)
        return mig_error_oom(err);
    r->refs = 1;
    r->fd = -1;
    r->file_page_bytes = REGION_PAGE_SIZE;
    strcpy(r->name, name);
    *ret = r;
    return 0;
}

static int check_size(const struct region *r, uint64_t offset, uint64_t size, struct mig_error *err)
{
    if (offset % REGION_PAGE_SIZE || size % REGION_PAGE_SIZE || size == 0)
        return mig_error_set(
            err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
            "memory region %s: offset %#llx and size %#llx must be multiples of 4 KiB, and size not zero",
            r->name, (unsigned long long)offset, (unsigned long long)size);
    if (size > REGION_SIZE_MAX)
        return mig_error_set(err, MIG_ERR_LIMIT, E2BIG,
                             "memory region %s: size %#llx is above the limit of 64 TiB", r->name,
                             (unsigned long long)size);
    return 0;
}

/* The bitmaps and the mapping, once fd, offset and sizes are known. */
static int map_region(struct region *r, struct mig_error *err)
{
    r->npages = r->size_bytes >> REGION_PAGE_SHIFT;
    if (bitmap_new(&r->dirty, r->npages) < 0 || bitmap_new(&r->marks, r->npages) < 0)
        return mig_error_oom(err);
    bool huge = r->file_page_bytes > REGION_PAGE_SIZE;
    /* Without MAP_NORESERVE on huge pages: a reservation that fails now is an error, a page that is missing
     * later is SIGBUS. */
    int flags = MAP_SHARED | (huge ? 0 : MAP_NORESERVE);
    uint8_t *p = mmap(NULL, map_length(r), r->writable ? PROT_READ | PROT_WRITE : PROT_READ, flags, r->fd,
                      (off_t)(r->offset_bytes - map_lead(r)));
    if (p == MAP_FAILED) {
        int e = errno;
        mig_error_set(err, e == ENOMEM ? MIG_ERR_NO_MEMORY : MIG_ERR_FAILED, e,
                      "memory region %s: cannot map %llu MiB: %s", r->name,
                      (unsigned long long)(r->size_bytes >> 20), strerror(e));
        if (huge && e == ENOMEM)
            mig_error_hint(err,
                           "there are not enough free huge pages: write the number to "
                           "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
                           (unsigned long long)(r->file_page_bytes >> 10));
        else if (e == EPERM)
            mig_error_hint(err, "the file is sealed against writing, or its file system forbids mapping");
        return -e;
    }
    r->map = p + map_lead(r);
    (void)madvise(p, map_length(r), MADV_DONTDUMP); /* a core file of migd must not hold a guest's memory */
    return 0;
}

static int check_file(struct region *r, uint64_t offset, uint64_t size, struct mig_error *err)
{
    struct stat st;
    struct statfs fs;
    int mode = fcntl(r->fd, F_GETFL);
    if (mode < 0 || fstat(r->fd, &st) < 0 || fstatfs(r->fd, &fs) < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, errno,
                             "memory region %s: cannot examine its file: %s", r->name, strerror(errno));
    if (!S_ISREG(st.st_mode)) {
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                      "memory region %s: its descriptor is not a memfd or regular file", r->name);
        mig_error_hint(err, "give the memory as a memfd, or as a file on tmpfs or hugetlbfs, mapped shared");
        return -EINVAL;
    }
    int access = mode & O_ACCMODE;
    if ((mode & O_PATH) || access == O_WRONLY || (r->writable && access != O_RDWR)) {
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EACCES,
                      "memory region %s: its descriptor is not open for %s", r->name,
                      r->writable ? "reading and writing" : "reading");
        mig_error_hint(err, "open the file with %s", r->writable ? "O_RDWR" : "O_RDONLY or O_RDWR");
        return -EACCES;
    }
    if (fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize >= REGION_PAGE_SIZE &&
        is_power_of_two((uint64_t)fs.f_bsize))
        r->file_page_bytes = (uint64_t)fs.f_bsize;
    uint64_t file_size = (uint64_t)st.st_size;
    if (size == 0 && offset < file_size)
        size = file_size - offset;
    int rc = check_size(r, offset, size, err);
    if (rc < 0)
        return rc;
    /* The second test: huge pages are mapped whole. */
    if (!range_inside(offset, size, file_size) ||
        align_up(offset + size, r->file_page_bytes) > align_up(file_size, REGION_PAGE_SIZE))
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, ERANGE,
                             "memory region %s: offset %#llx and size %#llx reach beyond the end of its "
                             "file, which has %#llx bytes",
                             r->name, (unsigned long long)offset, (unsigned long long)size,
                             (unsigned long long)file_size);
    r->offset_bytes = offset;
    r->size_bytes = size;
    return 0;
}

int region_new_from_fd(struct region **ret, const char *name, int fd, uint64_t offset_bytes,
                       uint64_t size_bytes, bool writable, struct mig_error *err)
{
    _cleanup_(region_unrefp) struct region *r = NULL;
    int rc = new_named(&r, name, err);
    if (rc < 0)
        return rc;
    r->writable = writable;
    r->fd = fd_dup(fd);
    if (r->fd < 0)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, -r->fd,
                             "memory region %s: cannot take its descriptor over: %s", name, strerror(-r->fd));
    rc = check_file(r, offset_bytes, size_bytes, err);
    if (rc < 0)
        return rc;
    rc = map_region(r, err);
    if (rc < 0)
        return rc;
    *ret = TAKE_PTR(r);
    return 0;
}

static int make_memfd(struct region *r, uint64_t hugepage_bytes, struct mig_error *err)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    if (hugepage_bytes)
        flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(hugepage_bytes) << MFD_HUGE_SHIFT;
    r->fd = memfd_create(r->name, flags | MFD_NOEXEC_SEAL);
    if (r->fd < 0 && errno == EINVAL)
        r->fd = memfd_create(r->name, flags);
    if (r->fd < 0) {
        int e = errno;
        mig_error_set(err, hugepage_bytes ? MIG_ERR_NOT_SUPPORTED : MIG_ERR_FAILED, e,
                      "memory region %s: cannot make a memfd%s: %s", r->name,
                      hugepage_bytes ? " on huge pages" : "", strerror(e));
        if (hugepage_bytes)
            mig_error_hint(
                err,
                "this kernel has no huge pages of %llu KiB; /sys/kernel/mm/hugepages lists those it has "
                "(1 GiB pages need hugepagesz=1G on the kernel command line)",
                (unsigned long long)(hugepage_bytes >> 10));
        return -e;
    }
    if (ftruncate(r->fd, (off_t)r->size_bytes) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "memory region %s: cannot size its memfd: %s",
                             r->name, strerror(errno));
    if (fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return mig_error_set(err, MIG_ERR_FAILED, errno, "memory region %s: cannot seal its memfd: %s",
                             r->name, strerror(errno));
    return 0;
}

/* The node is preferred, not bound: where a bound node has no page left, touching the memory kills with
 * SIGBUS or wakes the OOM killer, and the toucher may be migd. */
static int place(const struct region *r, int node, struct mig_error *err)
{
#ifdef HAVE_NUMA
    unsigned long mask[NUMA_NODES_MAX / (8 * sizeof(unsigned long))] = {0};
    const unsigned bits = 8 * sizeof mask[0];
    if (node >= NUMA_NODES_MAX)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                             "memory region %s: there is no NUMA node %d", r->name, node);
    mask[(unsigned)node / bits] = 1ul << ((unsigned)node % bits);
    if (mbind(r->map, map_length(r), MPOL_PREFERRED, mask, NUMA_NODES_MAX, 0) == 0)
        return 0;
    int e = errno;
    mig_error_set(err, e == ENOSYS ? MIG_ERR_NOT_SUPPORTED : MIG_ERR_INVALID_ARGUMENT, e,
                  "memory region %s: cannot place it on NUMA node %d: %s", r->name, node, strerror(e));
    mig_error_hint(err, e == ENOSYS ? "this kernel has no NUMA: leave the node out"
                                    : "/sys/devices/system/node/has_memory lists the nodes of this host");
    return -e;
#else
    mig_error_set(err, MIG_ERR_NOT_SUPPORTED, EOPNOTSUPP,
                  "memory region %s: this migd cannot place memory on NUMA node %d", r->name, node);
    mig_error_hint(err, "leave the node out, or build migd with libnuma");
    return -EOPNOTSUPP;
#endif
}

int region_new_made(struct region **ret, const char *name, uint64_t size_bytes, uint64_t hugepage_bytes,
                    int numa_node, struct mig_error *err)
{
    _cleanup_(region_unrefp) struct region *r = NULL;
    int rc = new_named(&r, name, err);
    if (rc < 0)
        return rc;
    rc = check_size(r, 0, size_bytes, err);
    if (rc < 0)
        return rc;
    if (hugepage_bytes && (!is_power_of_two(hugepage_bytes) || hugepage_bytes <= REGION_PAGE_SIZE ||
                           hugepage_bytes > REGION_SIZE_MAX || size_bytes % hugepage_bytes))
        return mig_error_set(
            err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
            "memory region %s: %llu bytes are not a whole number of huge pages of %llu bytes", name,
            (unsigned long long)size_bytes, (unsigned long long)hugepage_bytes);
    r->size_bytes = size_bytes;
    r->writable = true;
    r->made = true;
    if (hugepage_bytes)
        r->file_page_bytes = hugepage_bytes;
    rc = make_memfd(r, hugepage_bytes, err);
    if (rc < 0)
        return rc;
    rc = map_region(r, err);
    if (rc < 0)
        return rc;
    if (numa_node >= 0) {
        rc = place(r, numa_node, err);
        if (rc < 0)
            return rc;
    }
    *ret = TAKE_PTR(r);
    return 0;
}

struct region *region_ref(struct region *r)
{
    if (r)
        __atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

struct region *region_unref(struct region *r)
{
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    if (r->map)
        munmap(r->map - map_lead(r), map_length(r));
    close_fd(&r->fd);
    bitmap_free(r->dirty);
    bitmap_free(r->marks);
    free(r->origin);
    free(r);
    return NULL;
}

/* Bits first, then the count: whoever sees the count finds the bits. */
void region_mark(struct region *r, uint64_t first_page, uint64_t count)
{
    if (first_page >= r->npages || count == 0)
        return;
    count = MIN(count, r->npages - first_page);
    bitmap_set_range_atomic(r->marks, first_page, count);
    atomic_fetch_add_explicit(&r->marked_pages, count, memory_order_release);
}

uint64_t region_take_marks(struct region *r)
{
    uint64_t fresh = 0;
    if (atomic_exchange_explicit(&r->marked_pages, 0, memory_order_acquire))
        bitmap_take_atomic(r->dirty, r->marks, NULL, &fresh);
    return fresh;
}

/* The first page at or after `from` that is allocated; false when there is none. */
static bool seek_data(const struct region *r, uint64_t from_page, uint64_t *ret_page)
{
    off_t at = (off_t)(r->offset_bytes + (from_page << REGION_PAGE_SHIFT));
    off_t data = lseek(r->fd, at, SEEK_DATA);
    if (data < 0) {
        *ret_page = from_page; /* a file system that cannot tell has data everywhere */
        return errno != ENXIO;
    }
    if ((uint64_t)data >= r->offset_bytes + r->size_bytes)
        return false;
    *ret_page = MAX(from_page, ((uint64_t)data - r->offset_bytes) >> REGION_PAGE_SHIFT);
    return true;
}

bool region_next_data(const struct region *r, uint64_t from_page, uint64_t *ret_first, uint64_t *ret_count)
{
    uint64_t first, end = r->npages;
    if (from_page >= r->npages || !seek_data(r, from_page, &first))
        return false;
    off_t hole = lseek(r->fd, (off_t)(r->offset_bytes + (first << REGION_PAGE_SHIFT)), SEEK_HOLE);
    if (hole >= 0 && (uint64_t)hole < r->offset_bytes + r->size_bytes)
        end = div_round_up((uint64_t)hole - r->offset_bytes, REGION_PAGE_SIZE);
    if (end <= first) /* the file changed between the two questions */
        end = first + 1;
    *ret_first = first;
    *ret_count = end - first;
    return true;
}

bool region_next_allocated(const struct region *r, uint64_t from_page, uint64_t end_page, uint64_t *ret_first,
                           uint64_t *ret_count)
{
    end_page = MIN(end_page, r->npages);
    uint64_t first;
    if (from_page >= end_page || !seek_data(r, from_page, &first) || first >= end_page)
        return false;
    *ret_first = first;
    *ret_count = end_page - first;
    if (r->file_page_bytes > REGION_PAGE_SIZE)
        return true;
    unsigned char present[512];
    uint64_t window = MIN(end_page - first, sizeof present), n = 1;
    if (mincore(r->map + (first << REGION_PAGE_SHIFT), window << REGION_PAGE_SHIFT, present) == 0) {
        while (n < window && (present[n] & 1))
            n++;
        *ret_count = n;
    }
    return true;
}

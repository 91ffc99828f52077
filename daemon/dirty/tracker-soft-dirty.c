/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU writes of a process by the kernel's soft-dirty bits: 4 into /proc/PID/clear_refs, then bit 55 of each
 * entry of /proc/PID/pagemap. The process needs to do nothing. Worker thread.
 *
 * Reading and clearing are two steps, and what is written between them would be lost. So the bits are cleared
 * once, before round 0 has read a byte, and then only read: they say which pages were written since. Of
 * these, the ones that differ from what was sent (digest-sweep.h) are reported. Several trackers of one
 * process are no matter either, although clearing is for the whole process.
 *
 * The kernel forgets a bit when it drops a page of a shared file from the page tables: reclaim with swap, a
 * collapse to a huge page, MADV_DONTNEED. Nobody is told. So the last harvest, when the workload stands
 * still, compares all of the region, and finds what the bits have lost, and DMA too. That they are there
 * saves reading all memory in each round, and not in the blackout.
 */
#include "base/fds.h"
#include "dirty/digest-sweep.h"
#include "dirty/process-maps.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define ENTRIES_PER_READ 8192u
#define SOFT_DIRTY       (UINT64_C(1) << 55)

struct tracker_soft_dirty {
    struct tracker base;
    struct region *region;
    int pidfd, pagemap, clear_refs;
    pid_t pid;
    uint64_t address;
    uint64_t *entries; /* ENTRIES_PER_READ */
};

static struct tracker_soft_dirty *from_base(struct tracker *t)
{
    return CONTAINER_OF(t, struct tracker_soft_dirty, base);
}

static int failed(const struct tracker_soft_dirty *s, int rc, const char *what, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_TRACKER, -rc, "tracker %s: %s of process %d: %s", s->base.name, what,
                  (int)s->pid, strerror(-rc));
    if (rc == -EACCES || rc == -EPERM)
        mig_error_hint(err, "migd needs CAP_SYS_PTRACE for processes of other users");
    return rc;
}

/* The files of /proc stay with the address space that they were opened for: of a process that has ended, or
 * has executed another program, they answer nothing. */
static int check_gone(const struct tracker_soft_dirty *s, struct mig_error *err)
{
    struct pollfd p = {.fd = s->pidfd, .events = POLLIN};
    if (poll(&p, 1, 0) <= 0)
        return 0;
    failed(s, -ESRCH, "the memory", err);
    if (err)
        mig_error_hint(err, "the workload ended; register the domain again when it runs");
    return -ESRCH;
}

static int compare_written(const struct tracker_soft_dirty *s, struct dirty_sink *sink)
{
    uint64_t first_entry = s->address >> REGION_PAGE_SHIFT;
    for (uint64_t first = 0; first < s->region->npages; first += ENTRIES_PER_READ) {
        uint64_t n = MIN(s->region->npages - first, (uint64_t)ENTRIES_PER_READ);
        int r = pread_full(s->pagemap, s->entries, n * sizeof *s->entries,
                           (first_entry + first) * sizeof *s->entries);
        if (r < 0)
            return r;
        for (uint64_t i = 0, run; i < n; i += run + 1) {
            for (run = 0; i + run < n && s->entries[i + run] & SOFT_DIRTY; run++)
                ;
            if (run)
                digest_sweep(s->region, first + i, run, sink);
        }
    }
    return 0;
}

static int soft_dirty_start(struct tracker *t, struct mig_error *err)
{
    struct tracker_soft_dirty *s = from_base(t);
    unsigned others;
    uint64_t other;
    if (t->started)
        return 0;
    int r = check_gone(s, err);
    if (r == 0)
        r = process_maps_check(s->pid, s->address, s->region, &others, &other, err);
    if (r < 0)
        return r;
    if (pwrite(s->clear_refs, "4", 1, 0) != 1)
        return failed(s, -errno, "clearing the soft-dirty bits", err);
    t->started = true;
    return 0;
}

static void soft_dirty_stop(struct tracker *t)
{
    t->started = false; /* bits that are set cost nothing, those that are clear one fault each */
}

/* Reads only, hence peek is the same. */
static int soft_dirty_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct tracker_soft_dirty *s = from_base(t);
    int r = compare_written(s, sink);
    if (r == 0)
        r = check_gone(s, err); /* afterwards: a process that ended has no bits */
    else
        failed(s, r, "reading the soft-dirty bits", err);
    if (r < 0)
        dirty_sink_range(sink, s->region, 0, s->region->npages);
    return r;
}

static int soft_dirty_last(struct tracker *t, struct dirty_sink *sink, struct mig_error *err)
{
    struct tracker_soft_dirty *s = from_base(t);
    digest_sweep(s->region, 0, s->region->npages, sink);
    return check_gone(s, err);
}

static bool soft_dirty_covers(const struct tracker *t, const struct region *r)
{
    return CONTAINER_OF(t, const struct tracker_soft_dirty, base)->region == r;
}

static void soft_dirty_destroy(struct tracker *t)
{
    struct tracker_soft_dirty *s = from_base(t);
    close_fd(&s->clear_refs);
    close_fd(&s->pagemap);
    close_fd(&s->pidfd);
    region_unref(s->region);
    free(s->entries);
    free(s);
}

static const struct tracker_ops soft_dirty_ops = {
    .kind = "soft-dirty",
    .answers_gate = true,
    .by_digests = true,
    .start = soft_dirty_start,
    .stop = soft_dirty_stop,
    .harvest = soft_dirty_harvest,
    .harvest_last = soft_dirty_last,
    .covers = soft_dirty_covers,
    .destroy = soft_dirty_destroy,
};

/* A kernel that has them says so of each new mapping. */
static bool kernel_has_bits(void)
{
    uint64_t entry = 0;
    _cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint8_t *p = mmap(NULL, REGION_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    *(volatile uint8_t *)p = 1;
    int r = fd < 0 ? fd
                   : pread_full(fd, &entry, sizeof entry, ((uintptr_t)p >> REGION_PAGE_SHIFT) * sizeof entry);
    munmap(p, REGION_PAGE_SIZE);
    return r == 0 && (entry & SOFT_DIRTY);
}

static int open_file(const struct tracker_soft_dirty *s, const char *name, int flags, int *ret,
                     struct mig_error *err)
{
    char path[48], what[48];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)s->pid, name);
    *ret = open(path, flags | O_CLOEXEC);
    snprintf(what, sizeof what, "opening %s", name);
    return *ret < 0 ? failed(s, -errno, what, err) : 0;
}

/* The pidfd comes first: if the process still lives after its files were opened, the number was not used
 * again between. */
static int open_process(struct tracker_soft_dirty *s, struct mig_error *err)
{
    s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    int r = s->pidfd < 0 ? failed(s, -errno, "a pidfd", err) : 0;
    if (r == 0)
        r = open_file(s, "pagemap", O_RDONLY, &s->pagemap, err);
    if (r == 0)
        r = open_file(s, "clear_refs", O_WRONLY, &s->clear_refs, err);
    return r < 0 ? r : check_gone(s, err);
}

static int refuse(const char *name, const char *why, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_NOT_SUPPORTED, EOPNOTSUPP, "tracker %s: %s", name, why);
    mig_error_hint(err, "uffd or digests can say what the CPUs write");
    return -EOPNOTSUPP;
}

int tracker_new_soft_dirty(struct tracker **ret, const char *name, struct region *region, pid_t pid,
                           uint64_t address, struct mig_error *err)
{
    if (!kernel_has_bits())
        return refuse(name, "this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)", err);
    if (region->file_page_bytes > REGION_PAGE_SIZE)
        return refuse(name, "the kernel keeps no soft-dirty bits of hugetlbfs", err);
    if (address % REGION_PAGE_SIZE || address > UINT64_MAX - region->size_bytes)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                             "tracker %s: %#llx is no address of a page", name, (unsigned long long)address);
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    struct tracker_soft_dirty *s = calloc(1, sizeof *s);
    if (!s)
        return mig_error_oom(err);
    s->pidfd = s->pagemap = s->clear_refs = -1;
    int r = tracker_init(&s->base, &soft_dirty_ops, name, "cpu", err);
    if (r < 0) {
        free(s);
        return r;
    }
    t = &s->base;
    s->region = region_ref(region);
    s->pid = pid;
    s->address = address;
    t->granularity_bytes = REGION_PAGE_SIZE;
    s->entries = malloc(ENTRIES_PER_READ * sizeof *s->entries);
    if (!s->entries)
        return mig_error_oom(err);
    r = open_process(s, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(t);
    return 0;
}

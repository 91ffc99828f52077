/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU writes of a process, seen by the kernel: userfaultfd with asynchronous write protection, read with
 * PAGEMAP_SCAN. The workload only makes the userfaultfd and passes it on; registering and scanning happens
 * here. Worker thread.
 *
 * The scan finds and protects each page in one step, so a write is either in this report or faults and is in
 * the next. What it does not see: writes through other mappings of the region, of this process or of others,
 * and write(2) to the file.
 *
 * The kernel answers success with nothing found when the process has ended, has executed another program, or
 * has replaced the mapping by a hole. So after each scan the pidfd is asked, and the range is registered
 * again: that costs nothing when it is registered already, fails with ENOMEM when the address space is gone,
 * and renews what was replaced.
 */
#include "base/fds.h"
#include "base/log.h"
#include "dirty/process-maps.h"
#include "dirty/tracker.h"
#include "dirty/uffd-uapi.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define SCAN_RANGES 1024u

struct tracker_uffd {
    struct tracker base;
    struct region *region;
    int uffd, pidfd, pagemap;
    pid_t pid;
    uint64_t address;
    struct pmscan_range *ranges; /* SCAN_RANGES */
};

static struct tracker_uffd *from_base(struct tracker *t)
{
    return CONTAINER_OF(t, struct tracker_uffd, base);
}

static bool process_is_gone(const struct tracker_uffd *u)
{
    struct pollfd p = {.fd = u->pidfd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static int gone_error(const struct tracker_uffd *u, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_TRACKER, ESRCH,
                  "tracker %s: process %d, whose writes to region %s it watches, is gone", u->base.name,
                  (int)u->pid, u->region->name);
    mig_error_hint(err,
                   "the workload ended or executed another program; register the domain again when it runs");
    return -ESRCH;
}

static int register_range(const struct tracker_uffd *u, struct mig_error *err)
{
    struct uffdio_register reg = {
        .range = {.start = u->address, .len = u->region->size_bytes},
        .mode = UFFDIO_REGISTER_MODE_WP,
    };
    if (ioctl(u->uffd, UFFDIO_REGISTER, &reg) == 0)
        return 0;
    int e = errno;
    if (e == ESRCH || e == ENOMEM)
        return gone_error(u, err);
    mig_error_set(err, MIG_ERR_TRACKER, e, "tracker %s: cannot watch region %s at %#llx of process %d: %s",
                  u->base.name, u->region->name, (unsigned long long)u->address, (int)u->pid, strerror(e));
    if (e == EBUSY)
        mig_error_hint(err, "another userfaultfd of the workload watches this memory already");
    else
        mig_error_hint(err,
                       "the workload must call UFFDIO_API with UFFD_FEATURE_WP_ASYNC, WP_UNPOPULATED and "
                       "WP_HUGETLBFS_SHMEM before it passes its userfaultfd on");
    return -e;
}

static void deliver(const struct tracker_uffd *u, struct dirty_sink *sink, uint64_t nranges)
{
    for (uint64_t i = 0; sink && i < nranges; i++) {
        uint64_t from = u->ranges[i].start, to = u->ranges[i].end;
        if (from >= u->address && to > from)
            dirty_sink_range(sink, u->region, (from - u->address) >> REGION_PAGE_SHIFT,
                             (to - from) >> REGION_PAGE_SHIFT);
    }
}

/* All of the region. With protect, pages that are found are write-protected again. Plain errno. */
static int scan(const struct tracker_uffd *u, bool protect, struct dirty_sink *sink)
{
    uint64_t at = u->address, end = u->address + u->region->size_bytes;
    while (at < end) {
        /* Exactly these masks: for them the kernel counts a page that was dropped from the page tables after
         * a write as written, protecting or not. */
        struct pmscan_arg arg = {
            .size = sizeof arg,
            .flags = PMSCAN_CHECK_WPASYNC | (protect ? PMSCAN_WP_MATCHING : 0),
            .start = at,
            .end = end,
            .vec = (uintptr_t)u->ranges,
            .vec_len = SCAN_RANGES,
            .category_mask = PMSCAN_WRITTEN,
            .return_mask = PMSCAN_WRITTEN,
        };
        int n = ioctl(u->pagemap, PMSCAN_IOCTL, &arg);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        deliver(u, sink, (uint64_t)n);
        if (arg.walk_end <= at) /* never seen; would go on for ever */
            return -EIO;
        at = arg.walk_end;
    }
    return 0;
}

static int scan_error(const struct tracker_uffd *u, int rc, struct mig_error *err)
{
    mig_error_set(err, MIG_ERR_TRACKER, -rc, "tracker %s: cannot scan region %s of process %d for writes: %s",
                  u->base.name, u->region->name, (int)u->pid, strerror(-rc));
    if (rc == -ENOTTY)
        mig_error_hint(
            err,
            "PAGEMAP_SCAN needs Linux 6.7 or newer; a log that the VMM fills (cpu-log) works everywhere");
    else if (rc == -EPERM && u->base.started)
        mig_error_hint(
            err, "the workload has mapped something else over the memory, or unregistered its userfaultfd");
    else if (rc == -EPERM)
        mig_error_hint(
            err, "the workload must make the userfaultfd itself, with UFFD_FEATURE_WP_ASYNC in UFFDIO_API");
    return rc;
}

static void unregister_range(const struct tracker_uffd *u)
{
    struct uffdio_range range = {.start = u->address, .len = u->region->size_bytes};
    if (ioctl(u->uffd, UFFDIO_UNREGISTER, &range) < 0 && errno != ESRCH && errno != ENOMEM)
        log_warning(
            "tracker %s: process %d goes on paying for write tracking, which cannot be turned off: %m",
            u->base.name, (int)u->pid);
}

static int uffd_start(struct tracker *t, struct mig_error *err)
{
    struct tracker_uffd *u = from_base(t);
    unsigned others;
    uint64_t other;
    if (t->started)
        return 0;
    if (process_is_gone(u))
        return gone_error(u, err);
    int rc = process_maps_check(u->pid, u->address, u->region, &others, &other, err);
    if (rc < 0)
        return mig_error_is_set(err) ? mig_error_wrap(err, "tracker %s", t->name) : rc;
    if (others)
        log_warning(
            "tracker %s: process %d has region %s mapped at %#llx too; writes through there are not seen",
            t->name, (int)u->pid, u->region->name, (unsigned long long)other);
    rc = register_range(u, err);
    if (rc < 0)
        return rc;
    /* The first scan after registering finds everything and protects it. Nothing is lost with its result only
     * because round 0 sends everything and has not read a byte yet. */
    rc = scan(u, true, NULL);
    if (rc < 0) {
        unregister_range(u);
        return scan_error(u, rc, err);
    }
    if (process_is_gone(u))
        return gone_error(u, err);
    t->started = true;
    return 0;
}

static void uffd_stop(struct tracker *t)
{
    struct tracker_uffd *u = from_base(t);
    if (!t->started)
        return;
    t->started = false;
    unregister_range(u);
}

static int uffd_harvest(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err)
{
    struct tracker_uffd *u = from_base(t);
    struct mig_error e = MIG_ERROR_INIT;
    int rc = scan(u, !peek, sink);
    if (rc < 0)
        scan_error(u, rc, &e);
    bool gone = process_is_gone(u);
    int again = gone ? gone_error(u, &e) : register_range(u, &e);
    if (rc == 0 && again == 0)
        return 0;
    dirty_sink_range(sink, u->region, 0, u->region->npages);
    if (again == 0) {
        /* The mapping was replaced, and is watched again since a moment ago. */
        log_mig_error(LOG_WARNING, &(struct log_fields){.message = MESSAGE_TRACKER_LOST}, &e,
                      "all of its memory counts as written");
        return 0;
    }
    if (err)
        *err = e;
    return again;
}

static bool uffd_covers(const struct tracker *t, const struct region *r)
{
    return CONTAINER_OF(t, struct tracker_uffd, base)->region == r;
}

static void uffd_destroy(struct tracker *t)
{
    struct tracker_uffd *u = from_base(t);
    uffd_stop(t);
    close_fd(&u->pagemap);
    close_fd(&u->pidfd);
    close_fd(&u->uffd);
    region_unref(u->region);
    free(u->ranges);
    free(u);
}

static int uffd_held_fd(const struct tracker *t)
{
    return CONTAINER_OF(t, const struct tracker_uffd, base)->uffd;
}

static const struct tracker_ops uffd_ops = {
    .kind = "uffd",
    .answers_gate = true,
    .start = uffd_start,
    .stop = uffd_stop,
    .harvest = uffd_harvest,
    .held_fd = uffd_held_fd,
    .covers = uffd_covers,
    .destroy = uffd_destroy,
};

static bool is_userfaultfd(int fd)
{
    char path[40], target[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    return strcmp(target, "anon_inode:[userfaultfd]") == 0;
}

/* The pidfd comes first: if the process still lives after its pagemap was opened, the number was not used
 * again between. */
static int open_process(struct tracker_uffd *u, struct mig_error *err)
{
    char path[40];
    u->pidfd = (int)syscall(SYS_pidfd_open, u->pid, 0);
    if (u->pidfd < 0) {
        int e = errno;
        mig_error_set(err, MIG_ERR_TRACKER, e, "tracker %s: there is no process %d to watch: %s",
                      u->base.name, (int)u->pid, strerror(e));
        mig_error_hint(err, "name the process id of the workload, not of one of its threads");
        return -e;
    }
    snprintf(path, sizeof path, "/proc/%d/pagemap", (int)u->pid);
    u->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (u->pagemap < 0) {
        int e = errno;
        mig_error_set(err, MIG_ERR_TRACKER, e, "tracker %s: cannot open the page map of process %d: %s",
                      u->base.name, (int)u->pid, strerror(e));
        mig_error_hint(err, "migd needs CAP_SYS_PTRACE for processes of other users");
        return -e;
    }
    return process_is_gone(u) ? gone_error(u, err) : 0;
}

int tracker_new_uffd(struct tracker **ret, const char *name, struct region *region, int uffd, pid_t pid,
                     uint64_t address, struct mig_error *err)
{
    _cleanup_(tracker_freep) struct tracker *t = NULL;
    struct tracker_uffd *u = calloc(1, sizeof *u);
    if (!u)
        return mig_error_oom(err);
    u->uffd = u->pidfd = u->pagemap = -1;
    int rc = tracker_init(&u->base, &uffd_ops, name, "cpu", err);
    if (rc < 0) {
        free(u);
        return rc;
    }
    t = &u->base;
    u->region = region_ref(region);
    u->pid = pid;
    u->address = address;
    t->granularity_bytes = region->file_page_bytes;
    if (address % region->file_page_bytes || region->size_bytes % region->file_page_bytes ||
        address > UINT64_MAX - region->size_bytes)
        return mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                             "tracker %s: region %s cannot be mapped at %#llx: address and size must be "
                             "multiples of its page size, %llu",
                             name, region->name, (unsigned long long)address,
                             (unsigned long long)region->file_page_bytes);
    if (!is_userfaultfd(uffd)) {
        mig_error_set(err, MIG_ERR_INVALID_ARGUMENT, EINVAL,
                      "tracker %s: the descriptor is not a userfaultfd", name);
        mig_error_hint(
            err, "the workload makes it with userfaultfd(2) and passes it with SCM_RIGHTS or over D-Bus");
        return -EINVAL;
    }
    u->ranges = malloc(SCAN_RANGES * sizeof *u->ranges);
    if (!u->ranges)
        return mig_error_oom(err);
    u->uffd = fd_dup(uffd);
    if (u->uffd < 0)
        return mig_error_set(err, MIG_ERR_FAILED, -u->uffd,
                             "tracker %s: cannot take its userfaultfd over: %s", name, strerror(-u->uffd));
    rc = open_process(u, err);
    if (rc < 0)
        return rc;
    *ret = TAKE_PTR(t);
    return 0;
}

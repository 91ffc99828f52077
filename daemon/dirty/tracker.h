/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tracker says which pages were written since it was last asked. One file per kind; this is the contract.
 *
 * Lifecycle: created stopped; start() before the first byte of round 0 is read (R1); harvest() any number of
 * times; stop() after every ending (R10). start and stop are idempotent. All are called by the one worker
 * that runs the rounds.
 *
 * A harvest clears in the source what it reports: whoever calls it reads the pages afterwards (R2).
 */
#pragma once
#include "base/error.h"
#include "memory/region.h"

#define TRACKER_NAME_MAX 127

/* Where a harvest puts pages. The harvest code owns it; trackers only call the two functions. */
struct dirty_sink;
/* Pages [first, first + count) of the region were written. */
void dirty_sink_range(struct dirty_sink *s, struct region *r, uint64_t first_page, uint64_t count);
/* Bit n of words is page first_page + n. */
void dirty_sink_words(struct dirty_sink *s, struct region *r, uint64_t first_page, const uint64_t *words,
                      uint64_t nbits);

struct tracker;
struct tracker_ops {
    const char *kind; /* "device", "cpu-log", "uffd", "soft-dirty", "digests", "all" */
    /* False for a tracker that knows nothing and says everything: the gate then compares digests (R5). */
    bool answers_gate;
    /* It goes by what was sent: digests of exactly that are kept while it is part of a migration
     * (region->sent_digests, from before round 0 on). */
    bool by_digests;
    int (*start)(struct tracker *t, struct mig_error *err);
    void (*stop)(struct tracker *t); /* also after errors, with the source gone: must not block for long */
    /* An error means that the source is gone for good; what it covers was reported dirty before. A source
     * that failed once but lives reports everything that it covers, says so in the log, and answers 0. */
    /* Full, synchronous read-and-clear. With peek, read without clearing where the source allows; a source
     * that always clears is fine, since the caller keeps what was found. */
    int (*harvest)(struct tracker *t, bool peek, struct dirty_sink *sink, struct mig_error *err);
    /* The last one: the workload stands still. For a tracker that may miss writes while it runs, and must not
     * here. NULL: harvest. */
    int (*harvest_last)(struct tracker *t, struct dirty_sink *sink, struct mig_error *err);
    /* The descriptor that it cannot be made again without; borrowed. NULL where there is none. */
    int (*held_fd)(const struct tracker *t);
    /* Whether it watches this memory; never changes. NULL for those that go by the mappings of a DMA address
     * space. */
    bool (*covers)(const struct tracker *t, const struct region *r);
    void (*destroy)(struct tracker *t);
};

/* Attribution: what this tracker asked for, since start. Read by other threads as a snapshot, hence atomic.
 */
struct tracker_counters {
    _Atomic uint64_t harvests;
    _Atomic uint64_t pages_reported; /* 4 KiB pages, each report counted */
    _Atomic uint64_t
        pages_first;             /* of these, pages that no other tracker had asked for in the same harvest */
    _Atomic uint64_t gate_pages; /* found by the gate */
    _Atomic uint64_t harvest_usec; /* time spent in harvests */
};

struct tracker {
    const struct tracker_ops *ops;
    char name[TRACKER_NAME_MAX + 1];    /* unique in its domain; device trackers bear the device's name */
    char device[TRACKER_NAME_MAX + 1];  /* who writes: a device's name, "cpu", ... for reports */
    _Atomic uint64_t granularity_bytes; /* of one bit; known after start, better known with each harvest */
    bool started;
    /* Found at start: although its kind could know, this one knows nothing, like an ops->answers_gate that is
     * false. */
    _Atomic bool blind;
    struct tracker_counters counters;
};

static inline struct tracker *tracker_free(struct tracker *t)
{
    if (t)
        t->ops->destroy(t);
    return NULL;
}
DEFINE_CLEANUP(struct tracker *, tracker_free)

/* For the constructors: fills ops and names. -EINVAL for a name that is empty or too long. */
int tracker_init(struct tracker *t, const struct tracker_ops *ops, const char *name, const char *device,
                 struct mig_error *err);

/* Cannot answer the gate: it would say everything. Known after start. */
static inline bool tracker_is_blind(const struct tracker *t)
{
    return !t->ops->answers_gate || atomic_load(&t->blind);
}

/* Constructors, one file each. regions are referenced; fds are duplicated. */
struct device;
int tracker_new_device(struct tracker **ret, const char *name, struct device *device, uint64_t page_bytes,
                       struct mig_error *err);
/* log_fd: file of bits, bit n = page n of the region at page_bytes; the VMM sets bits with atomic or.
 * log_offset_bytes: multiple of 8. */
int tracker_new_cpu_log(struct tracker **ret, const char *name, struct region *region, int log_fd,
                        uint64_t log_offset_bytes, uint64_t page_bytes, struct mig_error *err);
/* uffd: made by the workload with UFFD_FEATURE_WP_ASYNC and WP_UNPOPULATED; migd registers and
 * write-protects. pid: the workload (a pidfd is taken). address: where the workload has the region mapped. */
int tracker_new_uffd(struct tracker **ret, const char *name, struct region *region, int uffd, pid_t pid,
                     uint64_t address, struct mig_error *err);
/* Pages whose digest is not that of what was sent, whoever wrote them. Reads all of the region each time. */
int tracker_new_digests(struct tracker **ret, const char *name, struct region *region, struct mig_error *err);
/* As digests, of pages alone that have soft-dirty bits in a process, which need not know of it; in the last
 * harvest, of all pages.
 * pid and address as above. -EOPNOTSUPP: this kernel has none, or none for huge pages. */
int tracker_new_soft_dirty(struct tracker **ret, const char *name, struct region *region, pid_t pid,
                           uint64_t address, struct mig_error *err);
/* Says everything of these regions at every harvest. device: who writes, for reports. */
int tracker_new_all(struct tracker **ret, const char *name, const char *device, struct region *const *regions,
                    size_t count, struct mig_error *err);
/* The dirty bits of a kernel DMA address space; the name is the container's. type1: one that says everything
 * at every read, because a device in it writes behind the kernel's back, is blind. */
struct container;
int tracker_new_type1(struct tracker **ret, struct container *container, struct mig_error *err);
int tracker_new_iommufd(struct tracker **ret, struct container *container, struct mig_error *err);
/* By the container's kind. */
int tracker_new_container(struct tracker **ret, struct container *container, struct mig_error *err);

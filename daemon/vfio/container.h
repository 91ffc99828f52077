/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kernel DMA address space: a type1 container or an iommufd with its HWPTs. migd cannot ask the kernel what
 * is mapped there, so it is told by the owner who maps, unless migd maps by itself; and it reads which pages
 * were written.
 *
 * Any thread; a lock inside keeps reads and changes of the mappings apart, so that a mapping which leaves
 * while tracking is on takes its last bits along (R6). The kernel's calls do not wait for devices.
 */
#pragma once
#include "memory/iova-map.h"
#include "vfio/kernel.h"
#include <pthread.h>

#define CONTAINER_NAME_MAX  63
#define CONTAINER_HWPTS_MAX 16u

struct container;

/* A piece of a reading: bit n of words is mapping->iova + n * page_bytes. Valid during the call only. */
typedef void (*container_report_cb)(void *userdata, const struct iova_mapping *mapping, uint64_t page_bytes,
                                    const uint64_t *words, uint64_t nbits);

/* All are called with the lock held. */
struct container_ops {
    const char *kind; /* "type1", "iommufd" */
    int (*track)(struct container *c, bool on, struct mig_error *err);
    /* Turning tracking on while it is on changes nothing; else it drops the bits that are there. */
    bool on_twice_keeps_bits;
    /* Whether the other one, of the same kind and on the same kernel object, has bits in common with this. */
    bool (*overlaps)(const struct container *c, const struct container *other);
    /* One mapping, in pieces that the kernel takes. keep: leave the bits where the kernel can. */
    int (*read)(struct container *c, const struct iova_mapping *m, bool keep, container_report_cb cb,
                void *userdata, struct mig_error *err);
    /* In the kernel, for a container that migd maps. -EEXIST and so on as the kernel says. */
    int (*map)(struct container *c, const struct iova_mapping *m);
    /* Unmaps in the kernel, with the last bits given to cb when tracking is on. -EOPNOTSUPP where migd cannot
     * unmap: then the caller reads the bits, and whoever mapped unmaps. */
    int (*unmap)(struct container *c, const struct iova_mapping *m, container_report_cb cb, void *userdata,
                 struct mig_error *err);
    void (*destroy)(struct container *c);
};

struct container {
    const struct container_ops *ops;
    unsigned refs; /* atomic */
    char name[CONTAINER_NAME_MAX + 1];
    int fd;
    int gone_fd; /* readable once the process that holds it is dead (a pidfd); -1: not known */
    const struct kernel_calls *calls;
    uint32_t ioas; /* of an iommufd, where it is known; else 0 */
    struct iova_map *map;
    pthread_mutex_t lock;
    bool tracking;
    struct container *next_tracking; /* in the list of those that track */
    bool partial;                    /* some of its devices may be attached where nothing is tracked */
    bool maps; /* migd maps in the kernel what it is told; set before the first mapping */
    struct kernel_bitmap bits;
};

/* fd is duplicated. calls NULL: the real kernel. An iommufd that plays a container is recognised and refused
 * with words. */
int container_new_type1(struct container **ret, const char *name, int fd, const struct kernel_calls *calls,
                        struct mig_error *err);
/* hwpts: ids of the HWPTs whose bits count, all of them on one IOAS; none given: all that answer are used.
 * ioas: 0 when it is not known; then migd never unmaps. */
int container_new_iommufd(struct container **ret, const char *name, int fd, const uint32_t *hwpts,
                          size_t nhwpts, uint32_t ioas, const struct kernel_calls *calls,
                          struct mig_error *err);
/* One that migd opened, without an HWPT yet. */
int container_new_own_iommufd(struct container **ret, const char *name, int fd, uint32_t ioas,
                              const struct kernel_calls *calls, struct mig_error *err);
/* Of an iommufd: from now on the bits of this HWPT count, too. Nothing new for one that counts already. */
int container_add_hwpt(struct container *c, uint32_t hwpt, struct mig_error *err);
/* Whether it can say anything: an iommufd without a tracking HWPT cannot. */
bool container_tells(const struct container *c);
/* Whichever it is. */
int container_new(struct container **ret, const char *name, int fd, const uint32_t *hwpts, size_t nhwpts,
                  uint32_t ioas, const struct kernel_calls *calls, struct mig_error *err);
struct container *container_ref(struct container *c);
/* The last one turns tracking off. */
struct container *container_unref(struct container *c);
DEFINE_CLEANUP(struct container *, container_unref)

/* Before anybody else sees the container: pidfd, duplicated, of the process that made it and maps. Once that
 * process is dead nothing is tracked or reported any more (DeviceGone). */
int container_set_holder(struct container *c, int pidfd, struct mig_error *err);
bool container_is_gone(const struct container *c);
/* Turns off what a process before this one may have left on. */
void container_stop_leftover(struct container *c);
/* Of an iommufd; none for type1. Borrowed. */
size_t container_hwpts(const struct container *c, const uint32_t **ret);
/* Whether its IOAS enters everything in pieces of 4 KiB (IOMMU_OPTION_HUGE_PAGES is off). False where that is
 * not known. */
bool container_maps_small(const struct container *c);

/* Idempotent. Refused (Busy) while another container object reads the same bits: each would take them from
 * the other, and the end of one would turn off what the other relies on. */
int container_start(struct container *c, struct mig_error *err);
/* After a reading failed: turns tracking on again where that does no harm, in case that somebody else turned
 * it off. -EOPNOTSUPP where it would. */
int container_start_again(struct container *c, struct mig_error *err);
void container_stop(struct container *c);
/* Reads (and clears, unless keep and the kernel can) the bits of every mapping. Refused when tracking is off
 * as far as migd knows: an iommufd then answers with a clean bitmap, and there is no request that tells
 * whether somebody else who has the iommufd turned it off. */
int container_report(struct container *c, bool keep, container_report_cb cb, void *userdata,
                     struct mig_error *err);
/* The owner has mapped this: exactly as one mapping of the kernel (type1), or as a part of several. What was
 * written before migd is told is not lost: the kernel keeps the bits of a new mapping from its beginning,
 * until they are read. Where migd maps, it does so here, which pins the memory and may take as long as that.
 */
int container_map(struct container *c, const struct iova_mapping *m, struct mig_error *err);
/* Takes the last bits as marks of the regions, and unmaps in the kernel where migd can (*ret_unmapped). gone:
 * the owner has unmapped already, the last bits are lost, and every page of it counts as written. */
int container_unmap(struct container *c, uint64_t iova, uint64_t size_bytes, bool gone, bool *ret_unmapped,
                    struct mig_error *err);

/* For the two implementations. The lock is of the list of containers that track, and of what `overlaps` looks
 * at; taken after that of a container. */
extern pthread_mutex_t container_tracking_lock;
int container_init(struct container *c, const struct container_ops *ops, const char *name, int fd,
                   const struct kernel_calls *calls, struct mig_error *err);
void container_clear(struct container *c);
/* An iommufd where a type1 container was expected: -EOPNOTSUPP and what to do. */
int container_refuse_compatible(const char *name, struct mig_error *err);

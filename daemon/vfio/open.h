/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VFIO devices that migd opens by itself, for a VMM that asks for them: the DMA address space (a type1
 * container, or an iommufd with one IOAS) and the devices in it. Everything is held by descriptors, which are
 * handed out as duplicates, so that a VMM which starts again gets the same ones.
 *
 * Whoever opens BLOCKS (a driver may reset the device first), on any thread, and one at a time for each
 * space. What is opened never changes after that, but for the list of a space's groups and HWPTs, which only
 * opening and dropping of its devices touch.
 */
#pragma once
#include "vfio/open-target.h"

#define OPEN_NAME_MAX   63
#define OPEN_HWPTS_MAX  16u /* of one space; as many as a container takes */
#define OPEN_GROUPS_MAX 256u

enum open_wish { OPEN_AS_POSSIBLE, OPEN_YES, OPEN_NO };

struct open_group {
    int number, fd;
    unsigned users;
};

struct open_hwpt {
    uint32_t id;
    unsigned users;
};

struct open_space {
    unsigned refs; /* atomic */
    char name[OPEN_NAME_MAX + 1];
    struct open_places places;
    bool iommufd, split;
    bool has_iommu; /* container: VFIO_SET_IOMMU is done */
    int fd;         /* the container or the iommufd */
    uint32_t ioas;  /* iommufd */
    struct open_group groups[OPEN_GROUPS_MAX];
    size_t ngroups;
    struct open_hwpt hwpts[OPEN_HWPTS_MAX]; /* that track */
    size_t nhwpts;
};

struct open_device_options {
    enum open_wish tracking; /* an HWPT with dirty tracking */
    bool own_hwpt;           /* not one that another device has */
};

struct open_device {
    unsigned refs; /* atomic */
    char name[OPEN_NAME_MAX + 1];
    struct open_target target;
    struct open_space *space;
    int fd;
    int group, group_fd;  /* legacy; group_fd belongs to the space */
    uint32_t devid, hwpt; /* iommufd; hwpt 0: none, since a driver does its DMA (mediated devices) */
    bool tracked;         /* what it writes is seen by the container's bits, exactly or as "everything" */
};

/* Whether this kernel has iommufd. */
bool open_has_iommufd(const struct open_places *places);
/* split: entries of 4 KiB whatever the pages are, for exact dirty bits (iommufd). */
int open_space_new(struct open_space **ret, const char *name, bool iommufd, bool split,
                   const struct open_places *places, struct mig_error *err);
struct open_space *open_space_ref(struct open_space *s);
struct open_space *open_space_unref(struct open_space *s);
DEFINE_CLEANUP(struct open_space *, open_space_unref)

/* Opens the device and puts it into the space. After a failure the space is as before. */
int open_device_new(struct open_device **ret, struct open_space *space, const char *name,
                    const struct open_target *target, const struct open_device_options *options,
                    struct mig_error *err);
struct open_device *open_device_ref(struct open_device *d);
/* The last one closes the device and gives back what nobody else in the space needs. May BLOCK: a driver
 * resets a device that nobody has open any more. */
struct open_device *open_device_unref(struct open_device *d);
DEFINE_CLEANUP(struct open_device *, open_device_unref)

/* ---- again, from descriptors that the process before this one kept; they are duplicated ---- */

int open_space_adopt(struct open_space **ret, const char *name, bool iommufd, bool split, uint32_t ioas,
                     int fd, struct mig_error *err);
struct open_kept {
    int fd, group_fd; /* -1: none */
    uint32_t devid, hwpt;
    bool tracked;
};
int open_device_adopt(struct open_device **ret, struct open_space *space, const char *name,
                      const struct open_target *target, const struct open_kept *kept, struct mig_error *err);

/* ---- what the files of this work share ---- */

/* open-legacy.c, open-iommufd.c: the space's own descriptor; the device into it and out again. */
int open_legacy_space(struct open_space *s, struct mig_error *err);
int open_legacy_device(struct open_device *d, struct mig_error *err);
int open_legacy_adopt(struct open_device *d, int group_fd, struct mig_error *err);
void open_legacy_close(struct open_device *d);
int open_iommufd_space(struct open_space *s, struct mig_error *err);
int open_iommufd_device(struct open_device *d, const struct open_device_options *options,
                        struct mig_error *err);
int open_iommufd_adopt(struct open_device *d, struct mig_error *err);
void open_iommufd_close(struct open_device *d);
/* open-failed.c */
/* Opening the node /dev/WHAT failed with r. */
int open_node_failed(const struct open_device *d, const char *path, int r, struct mig_error *err);
/* The kernel says that the device or its group is taken: by whom. */
int open_busy(const struct open_device *d, const char *path, struct mig_error *err);

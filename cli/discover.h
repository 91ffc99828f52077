/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a running process holds that a migration needs: VFIO containers, groups and devices, iommufds, and the
 * memory that it shares with its devices. Found by what /proc and /sys say; nobody is asked anything, and no
 * descriptor is touched. A scan is no snapshot: who takes a descriptor compares its identity.
 *
 * What cannot be found here: where the devices see the memory. The kernel does not list mappings.
 */
#pragma once
#include "base/error.h"
#include <sys/types.h>

#define DISCOVERY_PLACES_MAX 8u
#define DISCOVERY_OTHERS_MAX 8u
#define DISCOVERY_LARGE      (UINT64_C(1) << 20) /* smaller memory is not proposed */

enum discovery_kind {
    DISCOVERY_CONTAINER, /* /dev/vfio/vfio */
    DISCOVERY_IOMMUFD,   /* /dev/iommu */
    DISCOVERY_GROUP,     /* /dev/vfio/N */
    DISCOVERY_DEVICE,    /* a device that came out of a group */
    DISCOVERY_CDEV,      /* /dev/vfio/devices/vfioN */
    DISCOVERY_KIND_MAX,
};

/* What becomes of it; register-pid.c decides. */
enum discovery_use {
    DISCOVERY_UNUSED,  /* a group: only its devices matter */
    DISCOVERY_TAKEN,   /* registered under its name */
    DISCOVERY_SKIPPED, /* --skip */
    DISCOVERY_GIVEN,   /* --container, --device or the domain file speak of it */
};

/* A descriptor. */
struct discovery_item {
    enum discovery_kind kind;
    int fd;
    unsigned others[DISCOVERY_OTHERS_MAX]; /* more numbers of the same open file */
    size_t n_others;
    unsigned number; /* of the group or cdev */
    bool no_iommu;   /* a group without an IOMMU */
    char *identity;  /* foreign_identity() */
    char *address;   /* of a device: PCI address, or UUID of a mediated one; NULL: the kernel does not tell */
    const char *how; /* from what the address is known */
    bool mediated;   /* its DMA does not go through the IOMMU */
    char *members;   /* of a group: the addresses of its devices, with blanks between them; may be NULL */
    size_t n_members;
    char *name; /* as which it is registered; NULL: it is not */
    enum discovery_use use;
};

struct discovery_place {
    uint64_t address, offset, size_bytes;
};

/* A file that is mapped shared and writable. */
struct discovery_memory {
    char *path; /* as /proc shows it */
    uint64_t inode, device;
    int fd;              /* that leads to it and may write; -1: there is none */
    char *identity;      /* of fd */
    uint64_t offset;     /* of the first byte that is mapped */
    uint64_t size_bytes; /* from there to the last byte that is mapped */
    uint64_t page_bytes; /* 0: not known */
    bool proposed;       /* large enough, and on tmpfs or hugetlbfs */
    bool given;          /* --memory or the domain file speak of it */
    size_t n_places;     /* of which places has the first ones */
    struct discovery_place places[DISCOVERY_PLACES_MAX];
};

struct discovery {
    uint64_t pid;
    char *command; /* its name: comm */
    char *program; /* its file; may be NULL */
    char *guest;   /* the name that was given to QEMU; may be NULL */
    bool qemu;
    struct discovery_item *items;
    size_t n_items;
    struct discovery_memory *memory;
    size_t n_memory;
};

/* Where to look; tests have their own. */
struct discovery_world {
    const char *proc, *sys;
    /* Whether two descriptors of the process are one open file. */
    bool (*same_file)(uint64_t pid, int a, int b);
    /* Whether path (in proc) leads to a file on tmpfs or hugetlbfs, and the size of its pages. -errno: it
     * cannot be looked at. */
    int (*memory_file)(const char *path, bool *ret_memory, uint64_t *ret_page_bytes);
};
extern const struct discovery_world discovery_real_world;

int discover(struct discovery *ret, uint64_t pid, const struct discovery_world *world, struct mig_error *err);
void discovery_done(struct discovery *d);

/* ---- for the parts ---- */

/* What a link in /proc/PID/fd names, " (deleted)" or not. */
bool discovery_parse_link(const char *link, struct discovery_item *ret);
/* A line of /proc/PID/maps. path: what follows the inode, with \012 as a newline; borrows from the line. */
struct discovery_line {
    struct discovery_place place;
    bool shared, writable;
    uint64_t device, inode;
    char *path;
};
bool discovery_parse_line(char *text, struct discovery_line *ret);

int discovery_real_memory_file(const char *path, bool *ret_memory, uint64_t *ret_page_bytes);
/* Which files are mapped shared and writable; sorted by inode. */
int discover_memory(struct discovery *d, const struct discovery_world *world, struct mig_error *err);
/* One descriptor that leads to a file: whether it is some memory's. */
void discover_memory_fd(struct discovery *d, const struct discovery_world *world, int fd, const char *link);
/* Afterwards: which of it may be guest memory; the largest comes first. */
void discover_memory_proposals(struct discovery *d, const struct discovery_world *world);
/* Addresses of devices and members of groups. */
int discover_devices(struct discovery *d, const struct discovery_world *world, struct mig_error *err);

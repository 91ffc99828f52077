/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A host with VFIO devices that exists only in a test: a folder with what sysfs and /dev show, and a kernel
 * that answers behind struct kernel_calls. It keeps the rules that callers trip over (what must come before
 * what, what shares what), writes down every call, fails the one it is told to, and knows what is still
 * there.
 *
 * One thread.
 */
#pragma once
#include "vfio/open-target.h"
#include <stdio.h>

#define FAKE_DEVICES_MAX 8u
#define FAKE_OBJECTS_MAX 64u

struct fake_vfio_device {
    char address[64];
    int group;      /* -1: none */
    unsigned iommu; /* devices behind different ones do not share an HWPT */
    bool mediated, tracks, logs, migrates;
    bool open;
};

struct fake_vfio {
    struct kernel_calls calls;
    struct open_places places;
    char folder[64], sys[96], dev[96], proc[96];
    struct fake_vfio_device devices[FAKE_DEVICES_MAX];
    size_t ndevices;
    bool compat; /* its container is an iommufd */
    bool no_map_file, split, group_not_viable, has_iommu;
    struct {
        int kind; /* 0: none */
        unsigned device;
        int group;
    } objects[FAKE_OBJECTS_MAX]; /* open files; the index is known by the file itself */
    struct {
        uint32_t id; /* 0: none */
        unsigned iommu, attached;
    } hwpts[8];
    unsigned nmaps, nfile_maps; /* that are there */
    uint32_t next_id;
    unsigned ncalls, fail_at; /* fail_at: the call of this number answers fail_with; 0: none */
    int fail_with;
    char trace[4000]; /* "open iommu, ioas-alloc, ..." */
};

void fake_vfio_init(struct fake_vfio *f);
void fake_vfio_done(struct fake_vfio *f);
/* A PCI function, or a mediated device when the address is a UUID. driver "": none. */
struct fake_vfio_device *fake_vfio_add(struct fake_vfio *f, const char *address, int group,
                                       const char *driver);
/* Another device of a group, which is not opened. */
void fake_vfio_add_neighbour(struct fake_vfio *f, const char *address, int group, const char *driver);
/* Without /dev/iommu and cdevs. */
void fake_vfio_without_iommufd(struct fake_vfio *f);
/* Counts from here on. */
void fake_vfio_restart(struct fake_vfio *f);
unsigned fake_vfio_hwpts(const struct fake_vfio *f);

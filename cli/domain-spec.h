/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What `migctl register` was asked to register, from a domain file, from options, or from both (options add).
 * One table of keys per kind of thing serves both forms, so that they never differ; domain-fields.h has it.
 * Owns its texts.
 */
#pragma once
#include "base/error.h"
#include <stdint.h>

#define SPEC_IOVAS_MAX 64u
#define SPEC_ITEMS_MAX 1024u /* of each kind */

struct spec_memory {
    char *name, *path;
    char *seen; /* foreign_identity() of fd, when --pid found it; NULL: as it is */
    bool make, read_only;
    uint64_t offset, size_bytes, hugepages_bytes, numa_node;
    uint64_t pid, fd; /* of the process that holds it */
    uint64_t iova[SPEC_IOVAS_MAX];
    size_t n_iova;
    uint64_t has; /* bit i: key i of the table was given */
};

struct spec_device {
    char *name, *type, *socket, *listen, *tracker;
    char *seen; /* as in spec_memory */
    uint64_t timeout_usec, log_page_size;
    uint64_t pid, fd; /* type vfio: whose descriptor it is; or, for migd to open: */
    char *address, *interface, *container;
    bool dirty_tracking, split, own_hwpt, map_memory, state;
    bool precopy, map;
    uint64_t has;
};

/* A kernel DMA address space: a descriptor of another process. */
struct spec_container {
    char *name;
    char *seen; /* as in spec_memory: --pid found it, and does without it when it cannot track */
    uint64_t pid, fd, ioas, hwpt;
    bool map;
    uint64_t has;
};

struct spec_tracker {
    char *name, *type, *memory, *path;
    uint64_t offset, page_size, pid, fd, address;
    uint64_t has;
};

struct spec_controller {
    char *type, *bus_name, *path;
    uint64_t timeout_usec;
    uint64_t has;
};

struct domain_spec {
    char *name;
    bool incoming;
    struct spec_memory *memory;
    size_t n_memory;
    struct spec_container *containers;
    size_t n_containers;
    struct spec_device *devices;
    size_t n_devices;
    struct spec_tracker *trackers;
    size_t n_trackers;
    struct spec_controller controller;
    char *qmp; /* --qmp */
    bool no_containers;
    char *cpu_tracker; /* with qmp; NULL: as migd likes */
};

/* A domain file's text; the result is added to *spec. InvalidArgument with the place: "memory[0].ofset:
 * unknown key". file is for messages. */
int domain_spec_read_json(struct domain_spec *spec, const char *file, const char *text,
                          struct mig_error *err);
/* One --memory, --container, --device, --tracker ("key=value,key=value,flag,no-flag"; ,, is a comma inside a
 * value) or
 * --controller. */
int domain_spec_add_memory(struct domain_spec *spec, const char *text, struct mig_error *err);
int domain_spec_add_container(struct domain_spec *spec, const char *text, struct mig_error *err);
int domain_spec_add_device(struct domain_spec *spec, const char *text, struct mig_error *err);
int domain_spec_add_tracker(struct domain_spec *spec, const char *text, struct mig_error *err);
int domain_spec_set_controller(struct domain_spec *spec, const char *text, struct mig_error *err);
/* What no single key shows: missing keys, keys that exclude each other, names twice, unknown memory. Gives
 * nameless trackers a name. */
int domain_spec_check(struct domain_spec *spec, struct mig_error *err);
void domain_spec_done(struct domain_spec *spec);

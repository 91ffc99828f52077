/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What simdev was told on its command line; constant after main() has parsed it, but for the counters in
 * misbehave. */
#pragma once
#include "misbehave.h"
#include "vfio-user.h"

enum pattern_kind {
    PATTERN_RING,      /* one page after the other, like the receive queue of a network card */
    PATTERN_UNIFORM,   /* every page equally often */
    PATTERN_ZIPF,      /* few pages very often, all others now and then */
    PATTERN_BURST,     /* runs of neighbouring pages with pauses in between */
    PATTERN_OSCILLATE, /* uniform in a working set that grows and shrinks */
    PATTERN_MAX,
};

struct options {
    const char *socket_path;
    const char *journal_path;
    uint32_t id;
    uint16_t pci_device;
    enum pattern_kind pattern;
    uint64_t rate; /* pages per second, 0: as fast as it can */
    struct vfu_log_range *ranges;
    uint32_t n_ranges;
    uint64_t state_size_bytes, precopy_size_bytes;
    uint64_t log_page_size; /* 0: what the client asks for */
    uint64_t seed;
    uint64_t migration_flags; /* VFU_MIGRATION_; 0: cannot migrate */
    bool no_log, by_message, incoming, idle, notify, verbose;
    int ready_fd;
    struct misbehave misbehave;
};

/* 0: go on; 1: help or version was printed; -errno with the message printed. */
int options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);
const char *pattern_name(uint32_t kind);

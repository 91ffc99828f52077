/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the example was told on its command line; constant afterwards. */
#pragma once
#include "tracking.h"
#include <stdbool.h>
#include <stdint.h>

#define DEVICES_MAX 16u
struct device_option {
    const char *name, *socket, *tracker;
    uint64_t log_page_bytes;
    bool precopy;
};

struct options {
    const char *memory_path, *fill_dir, *journal, *source_journal, *log_path, *bus_name, *register_name;
    char *open_domain, *open_memory;
    uint64_t size, offset, huge_bytes, iova, rate, span, seed;
    unsigned threads;
    enum track_kind track;
    bool incoming, check, make;
    struct device_option devices[DEVICES_MAX];
    unsigned n_devices;
};

/* 0: go on; 1: help was printed; -EINVAL with the reason printed. */
int options_parse(struct options *o, int argc, char **argv);

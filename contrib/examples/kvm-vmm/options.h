/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the example was told on its command line; constant afterwards. */
#pragma once
#include "device.h"

struct options {
    const char *name; /* of the domain; NULL: it does not register itself */
    const char *kvm;
    uint64_t memory, rate, seconds;
    enum dma_interface interface;
    const char *devices[DEVICES_MAX];
    unsigned ndevices;
    bool incoming, lose_dirty_bits;
};

/* 0: go on; 1: help was printed; -EINVAL with the reason printed. */
int options_parse(struct options *o, int argc, char **argv);

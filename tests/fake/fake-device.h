/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device behind device_ops that is all in memory: a DMA log over a small window of IOVAs, and switches that
 * make it misbehave. No thread of its own. It has no migration states.
 */
#pragma once
#include "device/device.h"

#define FAKE_IOVA_BASE  UINT64_C(0x100000000)
#define FAKE_IOVA_PAGES 1024u

struct fake_device {
    struct device base;
    struct device_info info;
    uint64_t log_page_bytes; /* what it chooses, whatever is wished; 0: the wish */
    bool logging;
    struct bitmap *log; /* 4 KiB pages from FAKE_IOVA_BASE on */
    int gone;           /* eventfd */

    /* Misbehaviour. */
    int start_rc, report_rc; /* fail with this */
    bool lying_lengths;      /* reports more bits than the mapping has pages */
    bool forgets_last_bits;  /* unmaps without taking the bits (breaks R6) */
    unsigned starts, stops, reports;
};

/* The caller drops it with device_unref(&ret->base). */
int fake_device_new(struct fake_device **ret, const char *name, uint64_t log_page_bytes);
/* The device wrote [iova, iova + size): only the log knows. The bytes are the caller's business. */
void fake_device_wrote(struct fake_device *f, uint64_t iova, uint64_t size_bytes);
/* From now on it is dead. */
void fake_device_die(struct fake_device *f);

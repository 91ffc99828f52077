/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The device's state as a byte stream: sections, each with a header, a payload and a checksum over both.
 *
 *   BEGIN  EARLY*  CORE  PCI  FILLER?  END
 *
 * BEGIN and the EARLY sections may be read in PRE_COPY already; the rest is made when the device stands
 * still. A stream begins once: a second BEGIN, a gap in the numbers, a wrong checksum or a missing END make
 * the whole of it worthless.
 */
#pragma once
#include "pattern.h"
#include "pci.h"

#define SECTION_MAGIC        0x54535344u /* "DSST" */
#define STATE_FORMAT_VERSION 1u

enum section_type {
    SECTION_BEGIN = 1, /* struct state_begin */
    SECTION_EARLY,     /* noise */
    SECTION_CORE,      /* struct state_core */
    SECTION_PCI,       /* struct pci_state */
    SECTION_FILLER,    /* noise, to give the state its size */
    SECTION_END,       /* nothing */
};

struct section {
    uint32_t magic;
    uint32_t type;
    uint64_t number; /* from 0 */
    uint64_t payload_bytes;
};
#define SECTION_TRAILER_BYTES sizeof(uint64_t)

struct state_begin {
    uint32_t version;
    uint32_t device_id;
    uint64_t state_size_bytes, precopy_size_bytes;
};

struct state_core {
    uint32_t device_id;
    uint32_t control;
    uint64_t sequence;
    uint64_t pages_written;
    uint64_t rate;
    uint64_t doorbell;
    struct pattern pattern;
};

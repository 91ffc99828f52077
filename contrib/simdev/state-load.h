/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Takes a state stream in pieces of any size, and judges it at the end. Server thread only. */
#pragma once
#include "state-format.h"
#include <xxhash.h>

struct state_load {
    bool open, ended;
    int error; /* 0, or why the stream is worthless; nothing is looked at after that */
    char why[160];
    struct section head;
    uint64_t position, number, trailer;
    uint64_t received;
    XXH3_state_t *hash;
    unsigned seen; /* bits of the types that came */
    struct state_begin begin;
    struct state_core core;
    struct pci_state pci;
};

int state_load_begin(struct state_load *l);
void state_load_end(struct state_load *l);
void state_load_write(struct state_load *l, uint32_t device_id, const uint8_t *buf, size_t size);
/* 0 when core and pci are whole and right; else -EINVAL, and why says what is wrong. */
int state_load_check(struct state_load *l);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the device does wrong on request. Parsed from the command line before any thread starts; afterwards
 * only the server thread counts in it, and the engine thread only reads. Every switch can be combined with
 * every other.
 */
#pragma once
#include "base/error.h"

/* The commands as a user names them: the features of DEVICE_FEATURE are commands of their own here. */
enum point {
    POINT_NONE,
    POINT_VERSION,
    POINT_DMA_MAP,
    POINT_DMA_UNMAP,
    POINT_GET_INFO,
    POINT_REGION_INFO,
    POINT_IRQ_INFO,
    POINT_SET_IRQS,
    POINT_REGION_READ,
    POINT_REGION_WRITE,
    POINT_RESET,
    POINT_FEATURE, /* MIGRATION, every PROBE, and what is not named below */
    POINT_GET_STATE,
    POINT_SET_STATE,
    POINT_LOG_START,
    POINT_LOG_STOP,
    POINT_REPORT,
    POINT_DATA_READ,
    POINT_DATA_WRITE,
    POINT_MAX,
};

enum lie {
    LIE_NONE,
    LIE_SHORT, /* the payload ends before what its length fields promise */
    LIE_LONG,  /* more than was asked for, and than the length fields should allow */
    LIE_HUGE,  /* the message size in the header is absurd */
};

#define MISBEHAVE_MAX 16u
struct misbehave_at {
    enum point point;
    uint64_t nth; /* 0: every time */
    uint64_t usec;
};
struct misbehave_arc {
    uint32_t from, to; /* states */
    uint64_t nth;
    uint64_t seen;
    bool breaks; /* the device is in ERROR afterwards */
};

struct misbehave {
    bool write_after_stop, error_payload, split, merge, stray_precopy, wrong_state_reply, fragile;
    uint64_t write_after_stop_rate; /* pages per second */
    uint64_t late_dirty_every;      /* 0: off; every Nth write */
    uint64_t lose_bit_every;
    enum lie lie[POINT_MAX];
    struct misbehave_at stall[MISBEHAVE_MAX], die[MISBEHAVE_MAX], no_reply[MISBEHAVE_MAX];
    unsigned n_stall, n_die, n_no_reply;
    struct misbehave_arc refuse[MISBEHAVE_MAX];
    unsigned n_refuse;
    uint64_t seen[POINT_MAX];
};

/* Adds one WHAT of --misbehave; -EINVAL with a message that names the choices. */
int misbehave_parse(struct misbehave *m, const char *what, struct mig_error *err);
const char *point_name(enum point point);
/* Counts a command that has come; call once per command, before the three below. */
void misbehave_saw(struct misbehave *m, enum point point);
uint64_t misbehave_stall_usec(const struct misbehave *m, enum point point);
bool misbehave_dies(const struct misbehave *m, enum point point);
bool misbehave_swallows_reply(const struct misbehave *m, enum point point);
/* 0, or -EIO when the step or the request from -> to is one that was to be refused; *breaks is set then. */
int misbehave_refuses(struct misbehave *m, uint32_t from, uint32_t to, bool *breaks);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Judges memory by journals: see check.c. */
#pragma once
#include "journal.h"

#define CHECK_BAD_SHOWN 20u

struct check_memory {
    const char *path;
    int fd;
    uint64_t dev, ino;
    uint64_t offset, iova, size;
};

struct check_journal {
    const char *path;
    struct journal_view view;
};

struct check_bad {
    uint64_t iova;
    uint32_t device_id;
    uint64_t expected, found; /* sequence numbers; found 0: no sound record */
    char why[80];
};

struct check {
    struct check_memory *memories;
    size_t n_memories;
    struct check_journal *journals;
    size_t n_journals;
    bool killed;    /* the writer was killed: one write may be ahead of its journal */
    bool by_offset; /* addresses were mapped to other memory meanwhile: journals count by file offset too */
    bool silent_ok; /* a process that wrote nothing is no fault */

    uint64_t pages, judged, n_bad, ahead;
    struct check_bad bad[CHECK_BAD_SHOWN];
    bool chain_right;
    char chain_why[200];
};

/* Fills the lower part of c. 0, or -errno with err when memory cannot be read. */
int check_run(struct check *c, struct mig_error *err);
static inline bool check_passed(const struct check *c)
{
    return c->n_bad == 0 && c->chain_right;
}

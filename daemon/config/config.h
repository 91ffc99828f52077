/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the administrator configured: defaults of the program < PKGLIBDIR/migd.conf < PKGSYSCONFDIR/migd.conf
 * < migd.conf.d/NAME.conf of both folders in the order of their names, where a file in PKGSYSCONFDIR hides
 * one of the same name in PKGLIBDIR. A key or section that nobody knows is an error that names file and line:
 * a typing error must not leave a host without the limit that its administrator wrote down. Read once, at
 * start, on the main thread; a plain value.
 */
#pragma once
#include "base/error.h"

/* A word that a room above this one understands; origin ("FILE:LINE") is for its error message. */
struct config_word {
    char text[32];
    char origin[280];
};

struct config {
    char runtime_dir[256]; /* [Daemon] RuntimeDirectory */
    int log_level;         /* [Daemon] LogLevel */
    char listen[256];      /* [Peer] Listen; "": no listener */
    /* [Migration]: what a migration gets when its options do not say otherwise. */
    uint64_t max_downtime_usec;       /* MaxDowntime */
    uint64_t bandwidth_bytes_per_sec; /* Bandwidth; 0: no cap */
    unsigned connections;             /* Connections; 0: chosen */
    struct config_word on_stall;      /* OnStall; "": not configured */
    struct config_word gate;          /* Gate */
    struct config_word verify;        /* Verify */
};

#define CONFIG_CONNECTIONS_MAX 64u

void config_init(struct config *c);
/* file: only this one (it must exist); NULL: the search above. On failure *c is not touched. */
int config_load(struct config *c, const char *file, struct mig_error *err);
/* The search in other folders than the built-in ones. */
int config_load_from(struct config *c, const char *lib_dir, const char *sysconf_dir, struct mig_error *err);

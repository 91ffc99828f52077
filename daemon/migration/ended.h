/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How migrations ended while their daemon was ending: it could be asked no more, so its successor shows them,
 * as it shows what it takes up from the records of one that crashed. One small file each in
 * RUNTIME_DIR/ended, written and not synced as the records are; it goes when the successor has read it. Main
 * thread.
 */
#pragma once
#include "migration/migration.h"

/* Of a migration that has ended. */
int ended_write(const char *runtime_dir, struct migration *m, struct mig_error *err);
/* Makes migrations of all of them, each given to add(), which keeps a reference of its own, and then ended as
 * it was. Files that are none are named in a warning; all files are removed. */
void ended_show(const char *runtime_dir, struct loop *loop, void (*add)(struct migration *m, void *userdata),
                void *userdata);

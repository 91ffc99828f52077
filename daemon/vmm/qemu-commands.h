/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the controllers of a stock QEMU ask of it. Worker thread. */
#pragma once
#include "vmm/qmp.h"

/* A command without arguments, on a connection of its own. */
int qemu_command(const char *path, const char *command, uint64_t deadline_usec, struct mig_error *err);
/* What query-status or query-migrate says; "" when it says nothing. A migration that failed is an error in
 * QEMU's words. */
int qemu_ask_status(struct qmp *q, const char *command, char *word, size_t size, uint64_t deadline_usec,
                    struct mig_error *err);
/* x-ignore-shared: QEMU's migration leaves shared RAM out. Both sides must have it, or neither. */
int qemu_ignore_shared(struct qmp *q, bool on, uint64_t deadline_usec, struct mig_error *err);
/* The same; a failure is logged, since the one before it is what is told. */
void qemu_heed_shared(struct qmp *q, uint64_t deadline_usec);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon as a whole, once its configuration is known: what is built in which order, and how it ends. Main
 * thread. */
#pragma once
#include "base/error.h"

struct config;

/* config: changed by a reload (SIGHUP), for which load makes it anew. Runs until it is told to end. Returns
 * the exit code; what went wrong is in err when that is not 0 and err was set. */
int service_run(struct config *config, int (*load)(struct config *c, struct mig_error *err),
                const char *bus_address, struct mig_error *err);

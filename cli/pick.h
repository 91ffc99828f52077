/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which migration an operator means. */
#pragma once
#include "args.h"
#include <systemd/sd-bus.h>

/* By the first argument: an id, the beginning of one, or the name of a domain. Without an argument: the only
 * one that runs or is in doubt. The caller frees *ret. */
int pick_migration(sd_bus *bus, const struct args *args, char **ret_path, struct mig_error *err);

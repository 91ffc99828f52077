/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an operator may choose for a migration, for `start`, `check` and `set` alike: keys, forms of their
 * values, and how they go onto the bus. No state. */
#pragma once
#include "args.h"
#include <systemd/sd-bus.h>

/* Appends {key: value} to an open a{sv}. while_running: only what SetOptions takes. InvalidArgument says
 * which values there are. */
int migration_option_append(sd_bus_message *m, const char *key, const char *text, bool while_running,
                            struct mig_error *err);
/* Those of the command line, as the whole a{sv} of Domain.Migrate and Domain.Check. */
int migration_options_append(sd_bus_message *m, const struct args *args, struct mig_error *err);
/* And these keys, which are flags; NULL ends them. */
int migration_options_append_and(sd_bus_message *m, const struct args *args, const char *const *flags,
                                 struct mig_error *err);

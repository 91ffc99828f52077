/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of Domain.Migrate and Migration.SetOptions, and how they are shown. */
#pragma once
#include "api/api-options.h"
#include "migration/options.h"
#include <systemd/sd-bus.h>

/* *o holds what goes for keys that are not given. On failure it is untouched. */
int api_read_start_options(sd_bus_message *m, struct migration_options *o, struct mig_error *err);
/* And others that only this method has. */
#define API_MORE_OPTIONS_MAX 8u
int api_read_start_options_and(sd_bus_message *m, struct migration_options *o, const struct api_option *more,
                               size_t nmore, struct mig_error *err);
/* Those that may change while it runs. */
int api_read_running_options(sd_bus_message *m, struct migration_options *o, struct mig_error *err);
/* As a{sv}. */
int api_append_options(sd_bus_message *m, const struct migration_options *o);

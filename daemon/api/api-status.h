/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Migration.Status: the keys of migd-status.h. */
#pragma once
#include "migration/migration.h"
#include <systemd/sd-bus.h>

/* Appends an a{sv}. */
int api_append_status(sd_bus_message *m, struct migration *migration);
/* Appends an a{sv}: the argument of RoundCompleted. */
int api_append_round(sd_bus_message *m, const struct migration_round *round);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one place where a struct mig_error becomes an error of the bus. */
#pragma once
#include "base/error.h"
#include <systemd/sd-bus.h>

/* Sets "MESSAGE. HINT" under the name of the code. Returns a negative errno, as handlers do. */
int api_error(sd_bus_error *ret, const struct mig_error *e);
/* The answer to a call that was left open; *ret stays NULL when there is no memory for it. */
void api_new_error(sd_bus_message *call, const struct mig_error *e, sd_bus_message **ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one place where a struct mig_error becomes an error of the bus. */
#pragma once
#include "base/error.h"
#include <systemd/sd-bus.h>

/* Sets "MESSAGE. HINT" under the name of the code. Returns a negative errno, as handlers do. */
int api_error(sd_bus_error *ret, const struct mig_error *e);
/* The answer to a call that was left open. */
void api_reply_error(sd_bus_message *call, const struct mig_error *e);

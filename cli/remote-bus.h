/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The system bus of another host. */
#pragma once
#include "base/error.h"
#include <systemd/sd-bus.h>

/* host: [USER@]HOST[:PORT]. Answers when the other bus has greeted us; what kept it from that is told in
 * words. */
int remote_bus_open(const char *host, sd_bus **ret, struct mig_error *err);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sd-bus on the loop. The one file that knows when the bus wants to be read, written or woken: everybody else
 * calls sd-bus as they like on the main thread, because the pump asks again before each time the loop waits.
 * Losing the bus ends the daemon (its records stay).
 */
#pragma once
#include "base/error.h"
#include "loop/loop.h"

struct sd_bus;
struct bus;

/* address: NULL for the system bus. Connects and says hello, which blocks; the daemon is not ready before. */
int bus_new(struct bus **ret, struct loop *l, const char *address, struct mig_error *err);
struct sd_bus *bus_sd(struct bus *b);
/* Sends what is queued (briefly blocks) and closes. */
struct bus *bus_free(struct bus *b);
DEFINE_CLEANUP(struct bus *, bus_free)

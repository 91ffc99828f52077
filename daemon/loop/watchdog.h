/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service manager's watchdog (WatchdogSec= of the unit): fed by the main thread as long as no worker has
 * been silent for too long. Without one nothing ticks. Main thread.
 */
#pragma once
#include "loop/loop.h"

/* Longer than any deadline of a device, a VMM or a peer. */
#define WATCHDOG_SILENCE_USEC UINT64_C(300000000)

struct watchdog;
/* *ret is NULL when there is no watchdog. */
int watchdog_new(struct watchdog **ret, struct loop *l);
struct watchdog *watchdog_free(struct watchdog *w);

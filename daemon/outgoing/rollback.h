/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps back, each idempotent and none fatal: what cannot be undone is said in `problem` (the first
 * failure stays) and makes the domain broken. Worker. */
#pragma once
#include "domain/domain.h"

void source_run_devices(struct domain *d, char *problem, size_t size);
void source_resume_vmm(struct domain *d, char *problem, size_t size);
/* The VMM's log too. Also for trackers that this daemon never started: a daemon before it may have. */
void source_stop_tracking(struct domain *d);

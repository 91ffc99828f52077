/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VMM's log of what its CPUs write, on only while a migration needs it, or a check asks whether it can be
 * had (R10): it costs the guest, like every tracker. Asked of domains with a cpu-log only. Worker.
 */
#pragma once
#include "domain/domain.h"

/* Before a tracker is started or a page is read: from the answer on every write gets its bit. */
int vmm_log_start(struct domain *d, struct mig_error *err);
/* After every ending; a VMM that does not answer is named in the log and nothing else: it may be gone. */
void vmm_log_stop(struct domain *d);

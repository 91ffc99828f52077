/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the journal says of a migration as a whole: its beginning and its end, the same words and fields for
 * either direction. Any thread.
 */
#pragma once
#include "base/log.h"
#include "migration/migration.h"

/* The fields of a line about m, which must outlive them. */
struct log_fields migration_log_fields(const struct migration *m, enum migd_message message);
void migration_log_begun(struct migration *m);
/* Before migration_end, so that the phase in which it ended is still known. err NULL: completed. */
void migration_log_ended(struct migration *m, enum mig_state state, const struct mig_error *err);
/* An operator's word on a migration in doubt. uid: whose word. */
void migration_log_resolved(struct migration *m, bool run_here, uint32_t uid);

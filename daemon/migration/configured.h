/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a migration gets when its options do not say otherwise, as the administrator configured it. */
#pragma once
#include "config/config.h"
#include "migration/options.h"

/* Config with the origin of a word that is none. */
int migration_options_configure(struct migration_options *o, const struct config *c, struct mig_error *err);

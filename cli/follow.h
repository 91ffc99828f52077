/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Follows a migration until it ends. It only listens: whatever happens to this process, the migration goes
 * on. When migd itself goes away and comes back (a restart), it goes on with what the new one knows.
 */
#pragma once
#include "base/error.h"
#include "progress.h"
#include <systemd/sd-bus.h>

struct follow;

/* Listens from now on, so that nothing is missed of a migration that is started next. Interrupts (SIGINT)
 * wait from now on for follow_run(). */
int follow_new(struct follow **ret, sd_bus *bus, struct mig_error *err);
/* Until the migration at path has ended or is in doubt: its status then, to be put by the caller. -EINTR
 * without an error: the operator does not want to follow any longer. */
int follow_run(struct follow *f, const char *path, enum progress_mode mode, struct json_object **ret_status,
               struct mig_error *err);
struct follow *follow_free(struct follow *f);
DEFINE_CLEANUP(struct follow *, follow_free)

/* Follows, prints how it ended, returns the exit code: what start, monitor and status --wait share. */
int follow_to_the_end(struct follow *f, sd_bus *bus, const char *path, enum progress_mode mode);

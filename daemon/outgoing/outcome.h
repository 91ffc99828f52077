/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What became of a workload whose destination was lost after the decision: asked again and again on new
 * connections. Worker. */
#pragma once
#include "migration/migration.h"

struct outcome_question {
    struct security *security; /* borrowed */
    const char *address, *id, *token;
    int cancel_fd; /* the daemon ends, or the operator said a word */
};
/* 0: the destination runs it. -EREMOTEIO: it gave the workload back. -EINPROGRESS: cancelled before an answer
 * came. The migration is shown as in doubt while nobody answers. */
int outcome_ask(const struct outcome_question *q, struct migration *m, struct mig_error *err);
